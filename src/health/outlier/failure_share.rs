use crate::health::{InvalidSetting, passive::interval_stats::IntervalStats};

/// Ejects an endpoint of whose requests too many fail, whatever the others do.
///
/// Source: Envoy's failure percentage, gRPC A50. Where we differ: half is too much, and the fleet
/// may be small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureShare {
    /// Percent of an interval's requests at which an endpoint is ejected. Default 50.
    pub percent: f64,
    /// Least number of requests of an endpoint in an interval. Default 20.
    pub min_requests: u64,
}

impl Default for FailureShare {
    fn default() -> Self {
        Self { percent: 50.0, min_requests: 20 }
    }
}

impl FailureShare {
    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::unless_within("failure_share.percent", self.percent, [1.0, 100.0])?;
        InvalidSetting::if_none("failure_share.min_requests", self.min_requests)
    }

    /// Calls `eject` for each outlier, the worst first.
    pub(crate) fn find(
        &self,
        fleet: &[IntervalStats],
        mut eject: impl FnMut(&IntervalStats, String),
    ) {
        let enough = |endpoint: &&IntervalStats| endpoint.judged() >= self.min_requests.max(1);
        let share = |endpoint: &IntervalStats| (1.0 - endpoint.rate()) * 100.0;
        let shares = fleet.iter().filter(enough).map(|endpoint| (share(endpoint), endpoint));
        // A share that is exactly the limit counts, whatever the rounding.
        let mut failing: Vec<_> =
            shares.filter(|(share, _)| *share >= self.percent - 1e-9).collect();
        failing.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        for (share, endpoint) in failing {
            eject(endpoint, format!("{share:.0} % of {} requests failed", endpoint.judged()));
        }
    }
}
