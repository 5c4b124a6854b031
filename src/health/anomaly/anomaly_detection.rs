use std::time::Duration;

use crate::ConfigError;

/// How endpoints with more errors than their peers are found, and how far their share falls.
///
/// | setting | default |
/// |---|---|
/// | interval | 5 s |
/// | window | 6 intervals |
/// | least number of serving endpoints | 3 |
/// | significance | one in a million |
/// | least difference of the shares of errors | 0.05 |
/// | mitigation | on |
/// | floor of the share | 0.01 |
/// | most endpoints that are anomalous at a time | half of those that serve |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnomalyDetection {
    pub(super) interval: Duration,
    pub(super) window: usize,
    pub(super) min_endpoints: usize,
    pub(super) significance: f64,
    pub(super) min_difference: f64,
    pub(super) mitigate: bool,
    pub(super) floor: f64,
    pub(super) max_anomalous: f64,
}

impl AnomalyDetection {
    /// Uses the defaults of the table above.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(5),
            window: 6,
            min_endpoints: 3,
            significance: 1e-6,
            min_difference: 0.05,
            mitigate: true,
            floor: 0.01,
            max_anomalous: 0.5,
        }
    }

    setters! {
        /// Sets how often endpoints are compared and shares change. Default 5 s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Sets how many intervals the compared counts cover. Default 6; from 1 to 100.
        pub fn window(intervals: usize) => window = intervals;
        /// Sets how many endpoints must serve. With fewer there is no detection. Default 3; at
        /// least 2.
        pub fn min_endpoints(endpoints: usize) => min_endpoints = endpoints;
        /// Sets the probability below which a difference is no chance. Default 1e-6, because all
        /// endpoints are tested in every interval; above 0 and at most 0.1.
        pub fn significance(probability: f64) => significance = probability;
        /// Sets by how much the share of errors must exceed that of the peers. Default 0.05; from 0
        /// to 1.
        pub fn min_difference(share: f64) => min_difference = share;
        /// Sets whether the share of an anomalous endpoint falls. Otherwise anomalies are only
        /// reported. Default true.
        pub fn mitigate(mitigate: bool) => mitigate = mitigate;
        /// Sets the lowest share of its weight that an endpoint has. Default 0.01; from 0.0001 to
        /// 1. An endpoint that got nothing could not show that it has recovered.
        pub fn floor(share: f64) => floor = share;
        /// Limits the share of the serving endpoints that are anomalous at a time, rounded down.
        /// Default 0.5; from 0 to 0.9.
        pub fn max_anomalous(share: f64) => max_anomalous = share;
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::unless_within("window", self.window as f64, [1.0, 100.0])?;
        let endpoints = self.min_endpoints;
        ConfigError::unless(endpoints >= 2, "min_endpoints", endpoints, "at least 2")?;
        ConfigError::unless_within("significance", self.significance, [f64::MIN_POSITIVE, 0.1])?;
        ConfigError::unless_within("min_difference", self.min_difference, [0.0, 1.0])?;
        ConfigError::unless_within("floor", self.floor, [0.0001, 1.0])?;
        ConfigError::unless_within("max_anomalous", self.max_anomalous, [0.0, 0.9])
    }

    /// Returns how many of `serving` endpoints may be anomalous at a time.
    pub(super) fn limit(&self, serving: usize) -> usize {
        if serving < self.min_endpoints {
            return 0;
        }
        // The cast rounds down.
        (serving as f64 * self.max_anomalous) as usize
    }
}

impl Default for AnomalyDetection {
    fn default() -> Self {
        Self::new()
    }
}
