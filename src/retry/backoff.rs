use std::time::Duration;

use crate::{ConfigError, rng::Rng};

/// The delay before a retry: it grows with each retry, and is random, so that clients do not retry
/// at the same time.
///
/// Source: "Exponential backoff and jitter" (AWS Architecture Blog, 2015), for both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    jitter: Jitter,
}

/// The longest delay by default.
pub(crate) const DEFAULT_MAX_DELAY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jitter {
    Full,
    Decorrelated,
}

impl Backoff {
    /// A delay from 0 to `base` before the first retry. The upper bound doubles with each further
    /// retry, up to `max`.
    #[must_use]
    pub const fn full(base: Duration, max: Duration) -> Self {
        Self { base, max, jitter: Jitter::Full }
    }

    /// A delay from `base` to three times the previous delay, up to `max`. Spreads retries as well
    /// as [`full`](Self::full), and never retries at once.
    #[must_use]
    pub const fn decorrelated(base: Duration, max: Duration) -> Self {
        Self { base, max, jitter: Jitter::Decorrelated }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let base = format_args!("{:?}", self.base);
        ConfigError::unless(self.base <= self.max, "backoff.base", base, "at most `backoff.max`")
    }

    pub(super) fn max_delay(&self) -> Duration {
        self.max
    }

    pub(super) fn min_delay(&self) -> Duration {
        match self.jitter {
            Jitter::Full => Duration::ZERO,
            Jitter::Decorrelated => self.base,
        }
    }

    /// Returns the delay before retry number `retry`, 1 for the first. `previous` is the previous
    /// delay.
    pub(super) fn delay(&self, retry: u32, previous: Duration, rng: &mut Rng) -> Duration {
        let upper = match self.jitter {
            Jitter::Full => self.base.saturating_mul(2_u32.saturating_pow(retry.saturating_sub(1))),
            Jitter::Decorrelated => previous.max(self.base).saturating_mul(3),
        };
        let lower = self.min_delay();
        let upper = upper.min(self.max);
        lower + upper.saturating_sub(lower).mul_f64(rng.unit())
    }
}

impl Default for Backoff {
    /// Full jitter from 25 ms, up to 250 ms: the mean delay before the first retry is 12.5 ms.
    fn default() -> Self {
        Self::full(Duration::from_millis(25), DEFAULT_MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    const MS: Duration = Duration::from_millis(1);

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(
            base in 0..100_u32, more in 0..1000_u32, seed: u64, retry in 1..200_u32,
        ) {
            let (base, max) = (base * MS, (base + more) * MS);
            let mut rng = Rng::seeded(seed);
            let full = Backoff::full(base, max).delay(retry, Duration::ZERO, &mut rng);
            prop_assert!(full <= max.min(base.saturating_mul(2_u32.saturating_pow(retry - 1))));
            let (mut previous, backoff) = (Duration::ZERO, Backoff::decorrelated(base, max));
            for retry in 1..20 {
                let delay = backoff.delay(retry, previous, &mut rng);
                prop_assert!(delay >= base && delay <= max.min(previous.max(base) * 3));
                previous = delay;
            }
        }
    }

    /// The mean of 10 000 uniform delays, to within 3 %.
    #[test]
    fn full_jitter_is_uniform_and_doubles() {
        let mut rng = Rng::seeded(1);
        let backoff = Backoff::default();
        for (retry, millis) in [(1, 12.5), (2, 25.0), (3, 50.0), (4, 100.0), (5, 125.0)] {
            let delays = (0..10_000).map(|_| backoff.delay(retry, Duration::ZERO, &mut rng));
            let mean = delays.sum::<Duration>().as_secs_f64() / 10.0;
            assert!((mean / millis - 1.0).abs() < 0.03, "retry {retry}: {mean} ms");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let delays = |seed| {
            let mut rng = Rng::seeded(seed);
            [1, 2, 3].map(|retry| Backoff::default().delay(retry, Duration::ZERO, &mut rng))
        };
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }
}
