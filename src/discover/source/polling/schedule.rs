use std::time::Duration;

use crate::ConfigError;

/// When a source is polled; see [`refresh`](crate::discover::refresh()).
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    pub(crate) floor: Duration,
    ceiling: Duration,
    jitter: f64,
    min_backoff: Duration,
    max_backoff: Duration,
    pub(crate) timeout: Option<Duration>,
}

impl Schedule {
    /// A delay of more than this is lengthened by a share of this, not of itself.
    const MAX_JITTER_BASE: Duration = Duration::from_secs(86_400);

    /// Creates the default schedule: a poll every 30 s, or when the last answer expires, but at
    /// least 1 s and at most 5 min after it, plus a random delay of up to a tenth. After errors,
    /// the delay grows from 1 s to 30 s. A poll fails after 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(30),
            floor: Duration::from_secs(1),
            ceiling: Duration::from_secs(300),
            jitter: 0.1,
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            timeout: Some(Duration::from_secs(10)),
        }
    }

    setters! {
        /// Sets the delay after an answer that has no time of validity. Default 30 s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Sets the shortest delay after an answer, whatever its validity. Default 1 s.
        pub fn floor(floor: Duration) => floor = floor;
        /// Sets the longest delay after an answer, whatever its validity. Default 5 min.
        pub fn ceiling(ceiling: Duration) => ceiling = ceiling;
        /// Sets the largest share of a delay by which it is lengthened at random, so that clients
        /// that start together do not poll together. From 0 to 1; default 0.1.
        pub fn jitter(jitter: f64) => jitter = jitter;
    }

    /// Sets the delay after an error, which doubles with each consecutive error from `shortest` to
    /// `longest`. It is shortened at random by up to a half. Default 1 s to 30 s.
    #[must_use]
    pub fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        (self.min_backoff, self.max_backoff) = (shortest, longest);
        self
    }

    setters! {
        /// Sets the time after which a poll fails; `None` is no limit. Default 10 s.
        pub fn timeout(timeout: impl Into<Option<Duration>>) => timeout = timeout.into();
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::if_zero_time("floor", self.floor)?;
        ConfigError::if_zero_time("backoff", self.min_backoff)?;
        ConfigError::if_zero_time("timeout", self.timeout.unwrap_or(Duration::MAX))?;
        unless_at_most("floor", self.floor, "ceiling", self.ceiling)?;
        unless_at_most("backoff", self.min_backoff, "longest backoff", self.max_backoff)?;
        ConfigError::unless_within("jitter", self.jitter, [0.0, 1.0])
    }

    /// Returns the delay after an answer. `random` is in [0, 1).
    pub(super) fn delay_after_answer(&self, valid_for: Option<Duration>, random: f64) -> Duration {
        let delay = valid_for.unwrap_or(self.interval).clamp(self.floor, self.ceiling);
        lengthen(delay, self.jitter * random)
    }

    /// Returns the delay after a number of consecutive errors. `random` is in [0, 1).
    pub(super) fn delay_after_errors(&self, errors: u32, random: f64) -> Duration {
        // The shift is limited, because a shift by the width of the type panics.
        let doubled = 1_u32 << errors.saturating_sub(1).min(31);
        let delay = self.min_backoff.saturating_mul(doubled).min(self.max_backoff);
        lengthen(delay / 2, random)
    }
}

/// Lengthens a delay by a share of itself. Long delays are lengthened by a share of a day, because
/// `mul_f64` panics on overflow.
fn lengthen(delay: Duration, share: f64) -> Duration {
    delay.saturating_add(delay.min(Schedule::MAX_JITTER_BASE).mul_f64(share))
}

/// Fails if `time` is longer than the time of the other field.
fn unless_at_most(
    field: &'static str,
    time: Duration,
    other: &str,
    longest: Duration,
) -> Result<(), ConfigError> {
    if time <= longest {
        return Ok(());
    }
    let expected = format!("at most the {other}, {longest:?}");
    Err(ConfigError::new(field, expected).with_value(format_args!("{time:?}")))
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_stay_within_their_bounds() {
        let schedule = Schedule::new();
        assert_eq!(schedule.delay_after_answer(None, 0.0), 30 * SECOND);
        assert_eq!(schedule.delay_after_answer(None, 0.5), SECOND.mul_f64(31.5));
        assert_eq!(schedule.delay_after_answer(Some(Duration::ZERO), 0.0), SECOND);
        assert_eq!(schedule.delay_after_answer(Some(Duration::MAX), 0.0), 300 * SECOND);
        let endless = schedule.ceiling(Duration::MAX);
        assert_eq!(endless.delay_after_answer(Some(Duration::MAX), 0.9), Duration::MAX);
    }

    #[test]
    fn backoff_doubles_up_to_the_longest() {
        let schedule = Schedule::new();
        let pauses =
            [1, 2, 3, 6, 7, u32::MAX].map(|errors| schedule.delay_after_errors(errors, 0.0));
        let halves = [1, 2, 4, 30, 30, 30];
        assert_eq!(pauses, halves.map(|seconds| seconds * SECOND / 2));
        assert!(schedule.delay_after_errors(1, 0.99) < SECOND);
    }

    #[test]
    fn invalid_schedules_are_rejected() {
        let error = |schedule: Schedule| schedule.check().unwrap_err();
        let field = |schedule: Schedule| error(schedule).field().to_owned();
        let zero = Duration::ZERO;
        assert_eq!(field(Schedule::new().interval(zero)), "interval");
        assert_eq!(field(Schedule::new().floor(zero)), "floor");
        assert_eq!(field(Schedule::new().timeout(zero)), "timeout");
        assert_eq!(field(Schedule::new().backoff(zero, SECOND)), "backoff");
        assert_eq!(
            error(Schedule::new().floor(SECOND * 400)).to_string(),
            "`floor` is 400s: expected at most the ceiling, 300s"
        );
        assert_eq!(
            error(Schedule::new().backoff(2 * SECOND, SECOND)).to_string(),
            "`backoff` is 2s: expected at most the longest backoff, 1s"
        );
        for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(field(Schedule::new().jitter(jitter)), "jitter");
        }
        Schedule::new().jitter(1.0).timeout(None).check().unwrap();
    }
}
