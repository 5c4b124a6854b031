use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::histogram::{Histogram, bucket_of_rank};

/// Measures a quantile of recent latencies. Recording takes two atomic operations; once a second,
/// the caller that records also computes the quantile.
///
/// There are two histograms with buckets in proportion to the latency. One is filled, the other is
/// from the period before; they change places every 20 s. All accesses are relaxed: a count that is
/// lost at the change does no harm.
pub(super) struct Latencies {
    share: f64,
    created: Instant,
    histograms: [Histogram; 2],
    /// The number of changes; its last bit is the index of the histogram that is filled.
    period: AtomicU64,
    /// When to compute the quantile next, in nanoseconds since `created`.
    due: AtomicU64,
    /// The quantile in nanoseconds; 0 if unknown.
    quantile: AtomicU64,
}

/// Latencies up to 13 days, in eight buckets for each doubling.
const OCTAVES: u32 = 40;
const STEP_BITS: u32 = 3;
const HISTOGRAM_PERIOD: Duration = Duration::from_secs(20);
const QUANTILE_PERIOD: Duration = Duration::from_secs(1);
/// How many responses are needed for a quantile.
const MIN_RESPONSES: u64 = 100;
const MIN_QUANTILE: Duration = Duration::from_millis(1);

impl Latencies {
    pub(super) fn new(share: f64) -> Self {
        Self {
            share,
            created: Instant::now(),
            histograms: [(); 2].map(|()| Histogram::new(OCTAVES, STEP_BITS)),
            period: AtomicU64::new(0),
            due: AtomicU64::new(0),
            quantile: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn record(&self, started: Instant, now: Instant) {
        let current = self.period.load(Ordering::Relaxed) as usize % 2;
        let latency = now.saturating_duration_since(started);
        self.histograms[current].record(nanos(latency));
        let age = nanos(now.saturating_duration_since(self.created));
        let due = self.due.load(Ordering::Relaxed);
        if age >= due {
            self.update(age, due);
        }
    }

    /// Returns the quantile; `None` before there are enough responses.
    #[inline]
    pub(super) fn quantile(&self) -> Option<Duration> {
        let nanos = self.quantile.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos).max(MIN_QUANTILE))
    }

    #[cold]
    fn update(&self, age: u64, due: u64) {
        let later = age.saturating_add(nanos(QUANTILE_PERIOD));
        // Of the threads that see that the update is due, only the first one makes it.
        if self.due.compare_exchange(due, later, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let period = age / nanos(HISTOGRAM_PERIOD);
        let passed = period.saturating_sub(self.period.load(Ordering::Relaxed));
        let stale = match passed {
            0 => 0..0,
            1 => (period % 2) as usize..(period % 2) as usize + 1,
            _ => 0..2,
        };
        // The histogram is emptied before `period` directs new counts to it.
        self.histograms[stale].iter().for_each(Histogram::clear);
        self.period.store(period, Ordering::Relaxed);

        let [one, other] = &self.histograms;
        let counts = one.counts().zip(other.counts()).map(|(one, other)| one + other);
        let counts: Vec<u64> = counts.collect();
        let total: u64 = counts.iter().sum();
        if total < MIN_RESPONSES {
            // With little traffic the last quantile stays in use, but not after a pause that
            // emptied both histograms.
            if passed >= 2 {
                self.quantile.store(0, Ordering::Relaxed);
            }
            // Not a whole period, so that hedging starts soon after enough responses.
            let soon = age.saturating_add(nanos(QUANTILE_PERIOD) / 10);
            self.due.store(soon, Ordering::Relaxed);
            return;
        }
        let rank = (self.share * total as f64) as u64;
        let bucket = bucket_of_rank(&counts, rank).unwrap_or(counts.len() - 1);
        self.quantile.store(one.start(bucket + 1), Ordering::Relaxed);
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("share", &self.share)
            .field("quantile", &self.quantile())
            .finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_follow_the_latencies_and_old_latencies_expire() {
        let latencies = Latencies::new(0.9);
        let created = latencies.created;
        let at = |millis| created + Duration::from_millis(millis);
        let record = |now: u64, millis| latencies.record(at(now - millis), at(now));
        record(2000, 10);
        assert_eq!(latencies.quantile(), None);
        for n in 0..1000 {
            record(2000 + n * 2, 10 + n % 100);
        }
        record(5000, 10);
        let near = |millis: f64| {
            let quantile = latencies.quantile().unwrap().as_secs_f64() * 1e3;
            assert!((quantile / millis - 1.0).abs() < 0.13, "{quantile} ms");
        };
        near(100.0);
        for n in 0..9000 {
            record(21_000 + n * 5, 2);
        }
        near(2.0);
        // A long pause, after which the old quantile is useless.
        record(500_000, 10);
        assert_eq!(latencies.quantile(), None);
    }
}
