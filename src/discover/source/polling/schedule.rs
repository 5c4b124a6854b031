use std::{error::Error as StdError, fmt, time::Duration};

/// When a source that is polled is asked again; see [`refresh`](crate::discover::refresh()).
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    pub(in crate::discover::source) floor: Duration,
    ceiling: Duration,
    jitter: f64,
    shortest_backoff: Duration,
    longest_backoff: Duration,
    pub(in crate::discover::source) timeout: Option<Duration>,
}

impl Schedule {
    /// Every 30 s, or for as long as an answer says that it is valid, but at least 1 s and at most
    /// 5 min; up to a tenth later at random. After errors, after 1 s at first and 30 s at last. An
    /// answer may take 10 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(30),
            floor: Duration::from_secs(1),
            ceiling: Duration::from_secs(300),
            jitter: 0.1,
            shortest_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(30),
            timeout: Some(Duration::from_secs(10)),
        }
    }

    /// The time between answers that don't say for how long they are valid. Default 30 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The least time an answer is taken as valid, whatever it says. Default 1 s.
    #[must_use]
    pub fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    /// The longest time an answer is taken as valid, whatever it says. Default 5 min.
    #[must_use]
    pub fn ceiling(mut self, ceiling: Duration) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// By what part of itself a pause is lengthened at the most, at random, so that clients that
    /// started together don't ask together. From 0 to 1; default 0.1.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// The pause after one error, which doubles with each error in a row up to the longest. A
    /// random part of up to a half is taken off. Default 1 s to 30 s.
    #[must_use]
    pub fn backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        (self.shortest_backoff, self.longest_backoff) = (shortest, longest);
        self
    }

    /// How long an answer may take; `None` for ever. Default 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidSchedule> {
        if self.interval.is_zero() {
            return Err(InvalidSchedule::Zero("interval"));
        }
        if self.floor.is_zero() {
            return Err(InvalidSchedule::Zero("floor"));
        }
        if self.shortest_backoff.is_zero() {
            return Err(InvalidSchedule::Zero("shortest backoff"));
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(InvalidSchedule::Zero("timeout"));
        }
        if self.floor > self.ceiling {
            return Err(InvalidSchedule::Floor { floor: self.floor, ceiling: self.ceiling });
        }
        if self.shortest_backoff > self.longest_backoff {
            let (shortest, longest) = (self.shortest_backoff, self.longest_backoff);
            return Err(InvalidSchedule::Backoff { shortest, longest });
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(InvalidSchedule::Jitter(self.jitter));
        }
        Ok(())
    }

    /// The pause after an answer, `random` being in [0, 1).
    pub(super) fn after_answer(&self, valid_for: Option<Duration>, random: f64) -> Duration {
        let pause = valid_for.unwrap_or(self.interval).clamp(self.floor, self.ceiling);
        lengthen(pause, self.jitter * random)
    }

    /// The pause after so many errors in a row, `random` being in [0, 1).
    pub(super) fn after_errors(&self, errors: u32, random: f64) -> Duration {
        let doubled = 1_u32 << errors.saturating_sub(1).min(31);
        let pause = self.shortest_backoff.saturating_mul(doubled).min(self.longest_backoff);
        lengthen(pause / 2, random)
    }
}

/// Longer by a part of itself; what is longer than a day, by that part of a day.
fn lengthen(pause: Duration, part: f64) -> Duration {
    pause.saturating_add(pause.min(Duration::from_secs(86_400)).mul_f64(part))
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

/// A [`Schedule`] that can't be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// A time that must not be 0.
    Zero(&'static str),
    /// The floor is above the ceiling.
    Floor {
        /// The floor.
        floor: Duration,
        /// The ceiling.
        ceiling: Duration,
    },
    /// The shortest pause after errors is longer than the longest.
    Backoff {
        /// The shortest.
        shortest: Duration,
        /// The longest.
        longest: Duration,
    },
    /// A jitter that is not between 0 and 1.
    Jitter(f64),
}

impl fmt::Display for InvalidSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(what) => write!(f, "the {what} of a schedule is 0; make it longer"),
            Self::Floor { floor, ceiling } => {
                write!(
                    f,
                    "the floor {floor:?} is above the ceiling {ceiling:?}; lower one or raise the other"
                )
            }
            Self::Backoff { shortest, longest } => {
                write!(f, "the shortest backoff {shortest:?} is above the longest, {longest:?}")
            }
            Self::Jitter(jitter) => write!(f, "a jitter of {jitter}; it must be from 0 to 1"),
        }
    }
}

impl StdError for InvalidSchedule {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_stay_within_their_bounds() {
        let schedule = Schedule::new();
        assert_eq!(schedule.after_answer(None, 0.0), 30 * SECOND);
        assert_eq!(schedule.after_answer(None, 0.5), SECOND.mul_f64(31.5));
        assert_eq!(schedule.after_answer(Some(Duration::ZERO), 0.0), SECOND);
        assert_eq!(schedule.after_answer(Some(Duration::MAX), 0.0), 300 * SECOND);
        let endless = schedule.ceiling(Duration::MAX);
        assert_eq!(endless.after_answer(Some(Duration::MAX), 0.9), Duration::MAX);
    }

    #[test]
    fn backoff_doubles_up_to_the_longest() {
        let schedule = Schedule::new();
        let pauses = [1, 2, 3, 6, 7, u32::MAX].map(|errors| schedule.after_errors(errors, 0.0));
        let halves = [1, 2, 4, 30, 30, 30];
        assert_eq!(pauses, halves.map(|seconds| seconds * SECOND / 2));
        assert!(schedule.after_errors(1, 0.99) < SECOND);
    }

    #[test]
    fn nonsense_is_rejected() {
        let check = |schedule: Schedule| schedule.check().unwrap_err();
        let zero = Duration::ZERO;
        assert_eq!(check(Schedule::new().interval(zero)), InvalidSchedule::Zero("interval"));
        assert_eq!(check(Schedule::new().floor(zero)), InvalidSchedule::Zero("floor"));
        assert_eq!(check(Schedule::new().timeout(zero)), InvalidSchedule::Zero("timeout"));
        assert!(matches!(
            check(Schedule::new().floor(SECOND * 400)),
            InvalidSchedule::Floor { .. }
        ));
        assert!(matches!(
            check(Schedule::new().backoff(2 * SECOND, SECOND)),
            InvalidSchedule::Backoff { .. }
        ));
        for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(check(Schedule::new().jitter(jitter)), InvalidSchedule::Jitter(_)));
        }
        Schedule::new().jitter(1.0).timeout(None).check().unwrap();
    }
}
