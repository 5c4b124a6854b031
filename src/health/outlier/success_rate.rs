use crate::health::{InvalidSetting, passive::interval_stats::IntervalStats};

/// Ejects an endpoint whose success rate is far below that of the fleet.
///
/// Far is so many standard deviations below the mean of all endpoints with enough requests, and a
/// number of percent at least. Overloads and cancellations are left out.
///
/// Source: Envoy's success rate outliers, gRPC A50. Where we differ: `min_difference`. Where all are
/// nearly perfect a deviation is next to nothing, and one failure in a thousand would do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// Standard deviations below the mean. Default 1.9.
    pub deviations: f64,
    /// Least difference from the mean in percent. Default 5.
    pub min_difference: f64,
    /// Least number of endpoints with enough requests. Default 5: of fewer, none can be 1.9
    /// deviations from their mean.
    pub min_endpoints: usize,
    /// Least number of requests of an endpoint in an interval. Default 100.
    pub min_requests: u64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { deviations: 1.9, min_difference: 5.0, min_endpoints: 5, min_requests: 100 }
    }
}

impl SuccessRate {
    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        let least = [0.0, f64::INFINITY];
        InvalidSetting::unless_within("success_rate.deviations", self.deviations, least)?;
        let percent = self.min_difference;
        InvalidSetting::unless_within("success_rate.min_difference", percent, [0.0, 100.0])?;
        InvalidSetting::if_none("success_rate.min_endpoints", self.min_endpoints as u64)?;
        InvalidSetting::if_none("success_rate.min_requests", self.min_requests)
    }

    /// Calls `eject` for each outlier, the worst first.
    pub(crate) fn find(
        &self,
        fleet: &[IntervalStats],
        mut eject: impl FnMut(&IntervalStats, String),
    ) {
        let enough = |endpoint: &&IntervalStats| endpoint.judged() >= self.min_requests.max(1);
        let mut rates: Vec<_> = fleet.iter().filter(enough).map(|one| (one.rate(), one)).collect();
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
