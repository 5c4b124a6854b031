use crate::{ConfigError, health::passive::interval_stats::IntervalStats};

/// Ejects an endpoint whose success rate is far below that of the others.
///
/// Compared are the endpoints with at least `min_requests` requests in the interval. With the mean
/// `m` and the standard deviation `s` of their success rates, an endpoint is ejected if its rate is
/// below `m - max(deviations * s, min_difference / 100)`. Overloads and cancellations do not count.
///
/// Source: Envoy's success rate outliers, gRPC A50. Where this differs: `min_difference`. If all
/// endpoints are nearly perfect, `s` is close to 0, and one failure in a thousand would be enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// Standard deviations below the mean. Default 1.9; at least 0.
    pub deviations: f64,
    /// The least difference from the mean, in percent. Default 5; from 0 to 100.
    pub min_difference: f64,
    /// The least number of endpoints with enough requests. Default 5: among fewer, none can be 1.9
    /// deviations from the mean.
    pub min_endpoints: usize,
    /// The least number of requests of an endpoint in an interval. Default 100.
    pub min_requests: u64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { deviations: 1.9, min_difference: 5.0, min_endpoints: 5, min_requests: 100 }
    }
}

impl SuccessRate {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let range = [0.0, f64::INFINITY];
        ConfigError::unless_within("success_rate.deviations", self.deviations, range)?;
        let percent = self.min_difference;
        ConfigError::unless_within("success_rate.min_difference", percent, [0.0, 100.0])?;
        ConfigError::if_zero("success_rate.min_endpoints", self.min_endpoints as u64)?;
        ConfigError::if_zero("success_rate.min_requests", self.min_requests)
    }

    /// Calls `eject` for each outlier, the worst first.
    pub(crate) fn find(
        &self,
        endpoints: &[IntervalStats],
        mut eject: impl FnMut(&IntervalStats, String),
    ) {
        let measured =
            endpoints.iter().filter(|endpoint| endpoint.decided() >= self.min_requests.max(1));
        let mut rates: Vec<_> =
            measured.map(|endpoint| (endpoint.success_rate(), endpoint)).collect();
        if rates.len() < self.min_endpoints.max(1) {
            return;
        }
        let mean_of =
            |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / rates.len() as f64;
        let mean = mean_of(&mut rates.iter().map(|(rate, _)| *rate));
        let variance = mean_of(&mut rates.iter().map(|(rate, _)| (rate - mean).powi(2)));
        let limit = mean - (self.deviations * variance.sqrt()).max(self.min_difference / 100.0);
        rates.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for (rate, endpoint) in rates.into_iter().take_while(|(rate, _)| *rate < limit) {
            let (rate, mean) = (rate * 100.0, mean * 100.0);
            eject(endpoint, format!("success rate {rate:.0} %, {mean:.0} % elsewhere"));
        }
    }
}
