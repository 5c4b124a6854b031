use std::time::Duration;

use crate::ConfigError;

/// When the circuit of an endpoint opens, and how it closes again.
///
/// Failures are those of [`OutlierDetection`](crate::health::OutlierDetection): responses that
/// report a failure, transport failures and timeouts. An overload is not a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitBreaker {
    pub(super) consecutive_failures: Option<u32>,
    pub(super) percent: f64,
    pub(super) min_requests: u32,
    pub(super) window: Duration,
    base_time: Duration,
    max_time: Duration,
    pub(super) trial_requests: u32,
}

impl CircuitBreaker {
    /// Opens after 5 consecutive failures, or if 50 % of at least 20 requests fail within 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            consecutive_failures: Some(5),
            percent: 50.0,
            min_requests: 20,
            window: Duration::from_secs(10),
            base_time: Duration::from_secs(5),
            max_time: Duration::from_secs(60),
            trial_requests: 1,
        }
    }

    setters! {
        /// Opens the circuit after this many consecutive failures of any kind; `None` switches this
        /// off. Default 5.
        pub fn consecutive_failures(failures: impl Into<Option<u32>>)
            => consecutive_failures = failures.into();
    }

    /// Opens the circuit when `percent` of at least `min_requests` requests fail within `window`,
    /// which moves on by half. Default 50 % of 20 requests within 10 s; `percent` is from 1 to 100.
    #[must_use]
    pub fn failure_share(mut self, percent: f64, min_requests: u32, window: Duration) -> Self {
        (self.percent, self.min_requests, self.window) = (percent, min_requests, window);
        self
    }

    /// Sets how long the circuit is open: `base`, doubled each time that a trial fails, up to
    /// `max`. Default 5 s and 60 s.
    #[must_use]
    pub fn open_time(mut self, base: Duration, max: Duration) -> Self {
        (self.base_time, self.max_time) = (base, max);
        self
    }

    setters! {
        /// Sets how many requests a half-open circuit lets through. It closes when all have
        /// succeeded and opens when one fails. Default 1.
        pub fn trial_requests(requests: u32) => trial_requests = requests;
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let consecutive_failures = self.consecutive_failures.unwrap_or(1);
        ConfigError::if_zero("consecutive_failures", consecutive_failures.into())?;
        ConfigError::unless_within("failure_share.percent", self.percent, [1.0, 100.0])?;
        ConfigError::if_zero("failure_share.min_requests", self.min_requests.into())?;
        ConfigError::if_zero_time("failure_share.window", self.window)?;
        ConfigError::if_zero_time("open_time.base", self.base_time)?;
        ConfigError::unless(
            self.base_time <= self.max_time,
            "open_time.max",
            format_args!("{:?}", self.max_time),
            "at least `open_time.base`",
        )?;
        ConfigError::if_zero("trial_requests", self.trial_requests.into())
    }

    /// Returns how long the circuit is open after this many consecutive failed trials.
    pub(super) fn open_time_after(&self, failed_trials: u32) -> Duration {
        self.base_time.saturating_mul(1 << failed_trials.min(30)).min(self.max_time)
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::new()
    }
}
