use std::time::Duration;

use super::level::Thresholds;
use crate::ConfigError;

/// How endpoints are checked, and how often.
///
/// | setting | default |
/// |---|---|
/// | interval | 5 s, plus or minus 10 % |
/// | interval while a state is changing | 1 s |
/// | interval while there is no traffic | 30 s |
/// | timeout | 1 s |
/// | healthy after | 2 consecutive passes |
/// | unhealthy after | 3 consecutive failures |
/// | a new endpoint | must pass one check |
#[derive(Clone, Debug)]
pub struct HealthCheck<C> {
    pub(super) check: C,
    pub(super) interval: Duration,
    pub(super) changing_interval: Duration,
    pub(super) idle_interval: Duration,
    pub(super) timeout: Duration,
    pub(super) jitter: f64,
    pub(super) thresholds: Thresholds,
    pub(super) initial: InitialState,
    pub(super) seed: Option<u64>,
}

/// The state of a new endpoint before its first check. The names are those of HAProxy's
/// `init-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialState {
    /// Starts healthy and becomes unhealthy after `fall` consecutive failures.
    FullyUp,
    /// Starts healthy; the first check decides.
    Up,
    /// Starts unhealthy; the first check decides. The default.
    #[default]
    Down,
    /// Starts unhealthy and becomes healthy after `rise` consecutive passes.
    FullyDown,
}

impl<C> HealthCheck<C> {
    /// Checks endpoints by `check`, with the defaults of the table above.
    pub fn new(check: C) -> Self {
        Self {
            check,
            interval: Duration::from_secs(5),
            changing_interval: Duration::from_secs(1),
            idle_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(1),
            jitter: 0.1,
            thresholds: Thresholds { rise: 2, fall: 3 },
            initial: InitialState::Down,
            seed: None,
        }
    }

    /// Sets the time from the end of a check to the next check of the same endpoint. Default 5 s.
    ///
    /// Also sets [`changing_interval`](Self::changing_interval) to a fifth of `interval`, and
    /// [`idle_interval`](Self::idle_interval) to six times `interval`.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        (self.interval, self.changing_interval) = (interval, interval / 5);
        self.idle_interval = interval.saturating_mul(6);
        self
    }

    setters! {
        /// Sets the interval while the state of an endpoint is changing: some checks contradict it,
        /// but not enough of them. Default 1 s.
        pub fn changing_interval(interval: Duration) => changing_interval = interval;
        /// Sets the interval while no endpoint gets requests. Default 30 s.
        pub fn idle_interval(interval: Duration) => idle_interval = interval;
        /// Fails a check that takes longer than `timeout`. Default 1 s.
        pub fn timeout(timeout: Duration) => timeout = timeout;
        /// Sets the share by which an interval is shorter or longer, at random. Default 0.1; from 0
        /// to 0.9.
        pub fn jitter(share: f64) => jitter = share;
        /// Sets how many consecutive passes make an endpoint healthy again. Default 2; from 1 to a
        /// million.
        pub fn rise(checks: u32) => thresholds.rise = checks;
        /// Sets how many consecutive failures make an endpoint unhealthy. Default 3; from 1 to a
        /// million.
        pub fn fall(checks: u32) => thresholds.fall = checks;
        /// Sets the state of a new endpoint. Default [`InitialState::Down`].
        pub fn initial(initial: InitialState) => initial = initial;
        /// Makes jitter repeatable.
        pub fn seed(seed: u64) => seed = Some(seed);
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::if_zero_time("changing_interval", self.changing_interval)?;
        ConfigError::if_zero_time("timeout", self.timeout)?;
        ConfigError::unless(
            self.changing_interval <= self.interval,
            "changing_interval",
            format_args!("{:?}", self.changing_interval),
            "at most `interval`",
        )?;
        ConfigError::unless(
            self.idle_interval >= self.interval,
            "idle_interval",
            format_args!("{:?}", self.idle_interval),
            "at least `interval`",
        )?;
        ConfigError::unless_within("jitter", self.jitter, [0.0, 0.9])?;
        ConfigError::unless_within("rise", self.thresholds.rise.into(), [1.0, 1e6])?;
        ConfigError::unless_within("fall", self.thresholds.fall.into(), [1.0, 1e6])
    }
}
