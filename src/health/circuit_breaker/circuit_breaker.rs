use std::time::Duration;

use crate::health::InvalidSetting;

/// When the circuit to an endpoint opens, and how it closes again.
///
/// Failures are those of [`OutlierDetection`](crate::health::OutlierDetection): responses that say so, transport
/// failures and timeouts; an overload is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitBreaker {
    pub(super) in_a_row: Option<u32>,
    pub(super) percent: f64,
    pub(super) min_requests: u32,
    pub(super) window: Duration,
    pub(super) base_time: Duration,
    pub(super) max_time: Duration,
    pub(super) trials: u32,
}

impl CircuitBreaker {
    /// Opens after 5 failures in a row, or 50 % of at least 20 requests within 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            in_a_row: Some(5),
            percent: 50.0,
            min_requests: 20,
            window: Duration::from_secs(10),
            base_time: Duration::from_secs(5),
            max_time: Duration::from_secs(60),
            trials: 1,
        }
    }

    /// Opens after so many failures in a row, whatever their kind. Default 5.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: impl Into<Option<u32>>) -> Self {
        self.in_a_row = failures.into();
        self
    }

    /// Opens when this percentage of at least `min_requests` requests fail within `window`. The window
    /// moves on by half. Default 50 % of 20 requests, 10 s.
    #[must_use]
    pub fn failure_share(mut self, percent: f64, min_requests: u32, window: Duration) -> Self {
        (self.percent, self.min_requests, self.window) = (percent, min_requests, window);
        self
    }

    /// How long the circuit is open: `base`, doubled each time that a trial fails, up to `max`. Default
    /// 5 s and 60 s.
    #[must_use]
    pub fn open_time(mut self, base: Duration, max: Duration) -> Self {
        (self.base_time, self.max_time) = (base, max);
        self
    }

    /// How many requests a half-open circuit lets through; it closes when all have succeeded and opens
    /// when one fails. Default 1.
    #[must_use]
    pub fn trial_requests(mut self, requests: u32) -> Self {
        self.trials = requests;
        self
    }

    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        let failures = self.in_a_row.unwrap_or(1);
        InvalidSetting::if_none("consecutive_failures", failures.into())?;
        InvalidSetting::unless_within("failure_share.percent", self.percent, [1.0, 100.0])?;
        InvalidSetting::if_none("failure_share.min_requests", self.min_requests.into())?;
        InvalidSetting::if_zero("failure_share.window", self.window)?;
        InvalidSetting::if_zero("open_time.base", self.base_time)?;
        InvalidSetting::if_inverted(
            ("open_time.base", self.base_time),
            ("open_time.max", self.max_time),
        )?;
        InvalidSetting::if_none("trial_requests", self.trials.into())
    }

    /// How long the circuit is open after so many failed trials in a row.
    pub(super) fn open_for(&self, failed_trials: u32) -> Duration {
        self.base_time.saturating_mul(1 << failed_trials.min(30)).min(self.max_time)
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new()
    }
}
