use std::time::Duration;

use crate::health::{
    InvalidSetting,
    passive::interval_stats::{IntervalStats, median},
};

/// Ejects an endpoint whose latency is far off that of its peers for long enough.
///
/// Compared are medians over an interval, of successes, to the first byte: the endpoint's against the
/// median of all endpoints'. It is far off if it is `factor` times that, and `min_difference` above,
/// and above by more than five times what is usual among the endpoints (their median absolute
/// deviation, scaled to a standard deviation). Medians of medians, so that neither a few slow requests
/// nor the outlier itself shift what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyOutliers {
    /// How many times the latency of the peers. Default 3.
    pub factor: f64,
    /// How much above the latency of the peers, at least. Default 10 ms.
    pub min_difference: Duration,
    /// In how many intervals one after the other. Default 3.
    pub intervals: u32,
    /// Least number of endpoints with enough requests. Default 3, of which two agree.
    pub min_endpoints: usize,
    /// Least number of successful requests of an endpoint in an interval. Default 20.
    pub min_requests: u32,
}

impl Default for LatencyOutliers {
    fn default() -> Self {
        Self {
            factor: 3.0,
            min_difference: Duration::from_millis(10),
            intervals: 3,
            min_endpoints: 3,
            min_requests: 20,
        }
    }
}

impl LatencyOutliers {
    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::unless_within("latency.factor", self.factor, [1.0, f64::INFINITY])?;
        InvalidSetting::if_none("latency.intervals", self.intervals.into())?;
        InvalidSetting::if_none("latency.min_endpoints", self.min_endpoints as u64)?;
        InvalidSetting::if_none("latency.min_requests", self.min_requests.into())
    }

    /// Calls `strike` for each that is far off in this interval, the slowest first.
    pub(crate) fn find(
        &self,
        fleet: &[IntervalStats],
        mut strike: impl FnMut(&IntervalStats, String),
    ) {
        let enough = |endpoint: &&IntervalStats| endpoint.measured >= self.min_requests.max(1);
        let mut enough: Vec<_> = fleet.iter().filter(enough).collect();
        if enough.len() < self.min_endpoints {
            return;
        }
        let mut latencies: Vec<_> = enough.iter().map(|endpoint| endpoint.latency).collect();
        let Some(usual) = median(&mut latencies) else { return };
        latencies.iter_mut().for_each(|latency| *latency = latency.abs_diff(usual));
        let spread = median(&mut latencies).unwrap_or_default();
        let limit = (usual.as_secs_f64() * self.factor)
            .max(usual.saturating_add(self.min_difference).as_secs_f64())
            .max(usual.as_secs_f64() + 5.0 * 1.4826 * spread.as_secs_f64());
        enough.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.latency));
        let far_off = |endpoint: &&&IntervalStats| endpoint.latency.as_secs_f64() > limit;
        for endpoint in enough.iter().take_while(far_off) {
            let reason = format!("median latency {:.1?}, {usual:.1?} elsewhere", endpoint.latency);
            strike(endpoint, reason);
        }
    }
}
