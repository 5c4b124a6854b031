use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Gauge, Load, Now, PeakEwma, Score};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Sample, Start},
};

/// A latency that grows while requests wait: an endpoint that hangs is noticed before any of its
/// requests has timed out.
///
/// The cost is the inner load's, or the mean age of the requests in flight where that is more. An
/// endpoint that answers as usual is not affected, because its requests in flight are younger than
/// its latency. The inner load's cost must be in seconds, as [`PeakEwma`]'s is.
///
/// Source: kratos predicts a latency from the ages of requests in flight once most of them are older
/// than the estimate. Where we differ: we take the mean of all, which one atomic word can keep, with
/// neither a list of requests nor a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct HangAware<L = PeakEwma> {
    inner: L,
}

impl<L> HangAware<L> {
    /// Counts the age of requests in flight beside `inner`.
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

/// When the requests in flight at one endpoint began.
#[derive(Debug)]
struct Ages {
    /// Their number in the low bits, the sum of their starts in ticks in the others. The sum wraps
    /// around; so does what it is compared with.
    starts: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

const COUNT_BITS: u32 = 24;
/// A tick is 2^18 ns, 0.26 ms.
const TICK_BITS: u32 = 18;
const TICK_SECONDS: f64 = (1_u64 << TICK_BITS) as f64 / 1e9;

impl Ages {
    /// The word of one request.
    fn word(start: Start) -> u64 {
        ((start.nanos() >> TICK_BITS) << COUNT_BITS) | 1
    }

    /// The mean age in seconds of the requests in flight, 0 if there are none.
    fn mean(&self, now: u64) -> f64 {
        let starts = self.starts.load(Ordering::Relaxed);
        let count = starts & ((1 << COUNT_BITS) - 1);
        if count == 0 {
            return 0.0;
        }
        let ages = count.wrapping_mul(now >> TICK_BITS).wrapping_sub(starts >> COUNT_BITS);
        // What is left of the wrapping: a sum of ages, negative if the clock was behind.
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
        /// The mean age is right to within a tick, however long ago the vitals began and however
        /// many requests have come and gone.
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
    fn clocks_that_step_back_give_no_age() {
        let ages = ages();
        ages.starts.fetch_add(Ages::word(Start::at_age(10 * SECOND)), Ordering::Relaxed);
        assert_eq!(ages.mean(5 * SECOND), 0.0);
    }
}
