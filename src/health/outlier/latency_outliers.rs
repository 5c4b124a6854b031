use std::time::Duration;

use crate::{
    ConfigError,
    health::passive::interval_stats::{IntervalStats, median},
};

/// Ejects an endpoint whose latency is far above that of the others in several consecutive
/// intervals.
///
/// Compared are the median latencies of successful requests in the interval, up to the first byte
/// of the response. With the median `m` of these over all endpoints, and the median `d` of their
/// absolute deviations from `m`, an endpoint is too slow if its latency is above all of:
///
/// - `factor * m`
/// - `m + min_difference`
/// - `m + 5 * 1.4826 * d`, which is five standard deviations if latencies are normally distributed
///
/// Medians of medians are used so that neither a few slow requests nor the outlier itself move the
/// limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyOutliers {
    /// How many times the median of all endpoints. Default 3; at least 1.
    pub factor: f64,
    /// The least difference from the median of all endpoints. Default 10 ms.
    pub min_difference: Duration,
    /// The number of consecutive intervals. Default 3.
    pub intervals: u32,
    /// The least number of endpoints with enough requests. Default 3: two of them agree.
    pub min_endpoints: usize,
    /// The least number of successful requests of an endpoint in an interval. Default 20.
    pub min_requests: u32,
}

/// Standard deviations above the median.
const DEVIATIONS: f64 = 5.0;
/// The ratio of the standard deviation to the median absolute deviation of a normal distribution.
const DEVIATION_PER_MAD: f64 = 1.4826;

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
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::unless_within("latency.factor", self.factor, [1.0, f64::INFINITY])?;
        ConfigError::if_zero("latency.intervals", self.intervals.into())?;
        ConfigError::if_zero("latency.min_endpoints", self.min_endpoints as u64)?;
        ConfigError::if_zero("latency.min_requests", self.min_requests.into())
    }

    /// Calls `found` for each endpoint that is too slow in this interval, the slowest first.
    pub(crate) fn find(
        &self,
        endpoints: &[IntervalStats],
        mut found: impl FnMut(&IntervalStats, String),
    ) {
        let mut measured: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| endpoint.measured >= self.min_requests.max(1))
            .collect();
        if measured.len() < self.min_endpoints {
            return;
        }
        let mut latencies: Vec<_> = measured.iter().map(|endpoint| endpoint.latency).collect();
        let Some(usual) = median(&mut latencies) else { return };
        latencies.iter_mut().for_each(|latency| *latency = latency.abs_diff(usual));
        let deviation = median(&mut latencies).unwrap_or_default().as_secs_f64();
        let limit = (usual.as_secs_f64() * self.factor)
            .max(usual.saturating_add(self.min_difference).as_secs_f64())
            .max(usual.as_secs_f64() + DEVIATIONS * DEVIATION_PER_MAD * deviation);
        measured.sort_by_key(|endpoint| std::cmp::Reverse(endpoint.latency));
        let is_slow = |endpoint: &&&IntervalStats| endpoint.latency.as_secs_f64() > limit;
        for endpoint in measured.iter().take_while(is_slow) {
            let reason = format!("median latency {:.1?}, {usual:.1?} elsewhere", endpoint.latency);
            found(endpoint, reason);
        }
    }
}
