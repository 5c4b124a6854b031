use crate::{ConfigError, health::passive::interval_stats::IntervalStats};

/// Ejects an endpoint if too many of its requests fail, regardless of other endpoints.
///
/// Source: Envoy's failure percentage, gRPC A50. Where this differs: the threshold is 50 % instead
/// of 85 %, and there is no minimum number of endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureShare {
    /// The percentage of failed requests in an interval at which an endpoint is ejected. Default
    /// 50; from 1 to 100.
    pub percent: f64,
    /// The least number of requests of an endpoint in an interval. Default 20.
    pub min_requests: u64,
}

impl Default for FailureShare {
    fn default() -> Self {
        Self { percent: 50.0, min_requests: 20 }
    }
}

impl FailureShare {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless_within("failure_share.percent", self.percent, [1.0, 100.0])?;
        ConfigError::if_zero("failure_share.min_requests", self.min_requests)
    }

    /// Calls `eject` for each outlier, the worst first.
    pub(crate) fn find(
        &self,
        endpoints: &[IntervalStats],
        mut eject: impl FnMut(&IntervalStats, String),
    ) {
        let measured =
            endpoints.iter().filter(|endpoint| endpoint.decided() >= self.min_requests.max(1));
        let shares = measured.map(|endpoint| ((1.0 - endpoint.success_rate()) * 100.0, endpoint));
        // A rounding error must not exempt a share that is exactly the limit.
        let mut failing: Vec<_> =
            shares.filter(|(share, _)| *share >= self.percent - 1e-9).collect();
        failing.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (share, endpoint) in failing {
            eject(endpoint, format!("{share:.0} % of {} requests failed", endpoint.decided()));
        }
    }
}
