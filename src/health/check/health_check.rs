use std::time::Duration;

use super::level::Thresholds;
use crate::health::InvalidSetting;

/// How endpoints are checked, and how often.
///
/// | | default |
/// |---|---|
/// | interval | 5 s, give or take 10 % |
/// | timeout | 1 s |
/// | while a state is changing | 1 s |
/// | while there is no traffic | 30 s |
/// | healthy after | 2 in a row that pass |
/// | unhealthy after | 3 in a row that fail |
/// | a new endpoint | has to pass one check |
#[derive(Clone, Debug)]
pub struct HealthCheck<C> {
    pub(super) check: C,
    pub(super) interval: Duration,
    pub(super) changing: Duration,
    pub(super) idle: Duration,
    pub(super) timeout: Duration,
    pub(super) jitter: f64,
    pub(super) thresholds: Thresholds,
    pub(super) initial: InitialState,
    pub(super) seed: Option<u64>,
}

/// What a new endpoint is before it has been checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialState {
    /// It serves until as many checks have failed as of any other.
    FullyUp,
    /// It serves; its first check decides.
    Up,
    /// It doesn't serve; its first check decides. The default.
    #[default]
    Down,
    /// It doesn't serve until as many checks have passed as of any other.
    FullyDown,
}

impl<C> HealthCheck<C> {
    /// CheckPolicy by `check`; see the table above for how often.
    pub fn new(check: C) -> Self {
        Self {
            check,
            interval: Duration::from_secs(5),
            changing: Duration::from_secs(1),
            idle: Duration::from_secs(30),
            timeout: Duration::from_secs(1),
            jitter: 0.1,
            thresholds: Thresholds { rise: 2, fall: 3 },
            initial: InitialState::Down,
            seed: None,
        }
    }

    /// From the end of a check to the next of the same endpoint. Also sets the interval while a state is
    /// changing, to a fifth of it, and the one without traffic, to six times as much. Default 5 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        (self.interval, self.changing) = (interval, interval / 5);
        self.idle = interval.saturating_mul(6);
        self
    }

    /// The interval while an endpoint's state is changing: some checks have failed and not enough, or
    /// passed. Default 1 s.
    #[must_use]
    pub fn changing_interval(mut self, interval: Duration) -> Self {
        self.changing = interval;
        self
    }

    /// The interval while none of the endpoints gets requests. Default 30 s.
    #[must_use]
    pub fn idle_interval(mut self, interval: Duration) -> Self {
        self.idle = interval;
        self
    }

    /// How long a check may take; one that takes longer has failed. Default 1 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// By what part an interval is shorter or longer, at random. Default 0.1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// How many checks in a row must pass for an endpoint to be healthy again. Default 2.
    #[must_use]
    pub fn rise(mut self, checks: u32) -> Self {
        self.thresholds.rise = checks;
        self
    }

    /// How many checks in a row must fail for an endpoint to be unhealthy. Default 3.
    #[must_use]
    pub fn fall(mut self, checks: u32) -> Self {
        self.thresholds.fall = checks;
        self
    }

    /// What a new endpoint is. Default [`InitialState::Down`].
    #[must_use]
    pub fn initial(mut self, initial: InitialState) -> Self {
        self.initial = initial;
        self
    }

    /// Makes jitter repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("interval", self.interval)?;
        InvalidSetting::if_zero("changing_interval", self.changing)?;
        InvalidSetting::if_zero("timeout", self.timeout)?;
        let interval = ("interval", self.interval);
        InvalidSetting::if_inverted(("changing_interval", self.changing), interval)?;
        InvalidSetting::if_inverted(interval, ("idle_interval", self.idle))?;
        InvalidSetting::unless_within("jitter", self.jitter, [0.0, 0.9])?;
        let thresholds = [("rise", self.thresholds.rise), ("fall", self.thresholds.fall)];
        for (setting, checks) in thresholds {
            InvalidSetting::unless_within(setting, checks.into(), [1.0, 1e6])?;
        }
        Ok(())
    }
}
