use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Gauge, Load, Now, PeakEwma, Score,
    decayed::{TICK_BITS, TICK_SECONDS},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Sample, Start},
};

/// Raises another load while requests wait, so that an endpoint that hangs is avoided before its
/// requests time out.
///
/// With the cost `c` of the inner load, the time `t` and the starts `s_1` to `s_n` of the requests
/// in flight, the cost is
///
/// ```text
/// max(c, mean age),  mean age = (n * t - (s_1 + ... + s_n)) / n
/// ```
///
/// An endpoint that responds as usual is not affected, because its requests in flight are younger
/// than its latency. `c` must be in seconds, as that of [`PeakEwma`] is.
///
/// Source: kratos predicts a latency from the ages of requests in flight once most of them are
/// older than the estimate. Where this differs: the mean of all ages needs one atomic word, and
/// neither a list of requests nor a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct HangAware<L = PeakEwma> {
    inner: L,
}

impl<L> HangAware<L> {
    /// Raises `inner` by the age of the requests in flight.
    pub fn new(inner: L) -> Self {
        Self { inner }
    }
}

impl<L: Load> Load for HangAware<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let score = self.inner.score(gauge, now);
        let ages = gauge.meter::<Ages>().map(|ages| ages.mean(gauge.stats().age_at(now.moment())));
        Score { cost: ages.map_or(score.cost, |age| score.cost.max(age)), ..score }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Ages { starts: AtomicU64::new(0), inner: self.inner.meter() }))
    }
}

/// The starts of the requests in flight at one endpoint.
#[derive(Debug)]
struct Ages {
    /// The number of requests in the low `COUNT_BITS`, the sum of their starts in ticks above them.
    /// The sum wraps around, and so does the sum that it is subtracted from.
    starts: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

const COUNT_BITS: u32 = 24;

impl Ages {
    /// Returns what one request adds to `starts`.
    fn word(start: Start) -> u64 {
        ((start.nanos() >> TICK_BITS) << COUNT_BITS) | 1
    }

    /// Returns the mean age in seconds of the requests in flight, or 0 without requests.
    fn mean(&self, now: u64) -> f64 {
        let starts = self.starts.load(Ordering::Relaxed);
        let count = starts & ((1 << COUNT_BITS) - 1);
        if count == 0 {
            return 0.0;
        }
        let ages = count.wrapping_mul(now >> TICK_BITS).wrapping_sub(starts >> COUNT_BITS);
        // The shifts extend the sign of the 40-bit sum of ages. It is negative if a request started
        // on a clock that was ahead of this one.
        let ages = ((ages << COUNT_BITS) as i64) >> COUNT_BITS;
        ages.max(0) as f64 / count as f64 * TICK_SECONDS
    }
}

impl Meter for Ages {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        self.starts.fetch_sub(Self::word(sample.start()), Ordering::Relaxed);
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
    }

    fn start(&self, stats: &EndpointStats, start: Start) {
        self.starts.fetch_add(Self::word(start), Ordering::Relaxed);
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    fn needs_latency(&self) -> bool {
        true
    }

    fn needs_starts(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn ages() -> Ages {
        Ages { starts: AtomicU64::new(0), inner: None }
    }

    proptest! {
        /// The mean age is right to within a tick, whatever the age of the statistics and the
        /// number of finished requests.
        #[test]
        fn the_mean_is_that_of_the_requests_in_flight(
            epoch in 0_u64..40_000_000,
            starts in prop::collection::vec((0..1000 * SECOND, any::<bool>()), 1..50),
        ) {
            let ages = ages();
            let age = |start: u64| epoch * SECOND + start;
            for &(start, _) in &starts {
                ages.starts.fetch_add(Ages::word(Start::at_age(age(start))), Ordering::Relaxed);
            }
            for &(start, _) in starts.iter().filter(|(_, ended)| *ended) {
                ages.starts.fetch_sub(Ages::word(Start::at_age(age(start))), Ordering::Relaxed);
            }
            let now = 1000 * SECOND;
            let left: Vec<_> = starts.iter().filter(|(_, ended)| !ended).collect();
            let expected: f64 =
                left.iter().map(|(start, _)| (now - start) as f64 / 1e9).sum::<f64>();
            let expected = if left.is_empty() { 0.0 } else { expected / left.len() as f64 };
            prop_assert!((ages.mean(age(now)) - expected).abs() < 2.0 * TICK_SECONDS);
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_age_0() {
        let ages = ages();
        ages.starts.fetch_add(Ages::word(Start::at_age(10 * SECOND)), Ordering::Relaxed);
        assert_eq!(ages.mean(5 * SECOND), 0.0);
    }
}
