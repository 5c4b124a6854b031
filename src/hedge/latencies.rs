use std::{
    fmt,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

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

struct Histogram([AtomicU32; BUCKETS]);

/// Eight for each doubling, from 1 µs to 6 days.
const BUCKETS: usize = 8 * 40;
const HISTOGRAM_PERIOD: Duration = Duration::from_secs(20);
const QUANTILE_PERIOD: Duration = Duration::from_secs(1);
/// How many responses are needed for a quantile.
const MIN_RESPONSES: u64 = 100;
const MIN_QUANTILE: Duration = Duration::from_millis(1);

impl Latencies {
    pub(super) fn new(share: f64) -> Self {
        let histogram = || Histogram(std::array::from_fn(|_| AtomicU32::new(0)));
        Self {
            share,
            created: Instant::now(),
            histograms: [histogram(), histogram()],
            period: AtomicU64::new(0),
            due: AtomicU64::new(0),
            quantile: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn record(&self, started: Instant, now: Instant) {
        let current = self.period.load(Ordering::Relaxed) as usize % 2;
        let latency = now.saturating_duration_since(started);
        self.histograms[current].0[bucket(latency)].fetch_add(1, Ordering::Relaxed);
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
        let counts = self.histograms[stale].iter().flat_map(|histogram| &histogram.0);
        counts.for_each(|count| count.store(0, Ordering::Relaxed));
        self.period.store(period, Ordering::Relaxed);

        let [one, other] = &self.histograms;
        let count = |(one, other): (&AtomicU32, &AtomicU32)| {
            u64::from(one.load(Ordering::Relaxed)) + u64::from(other.load(Ordering::Relaxed))
        };
        let counts = || one.0.iter().zip(&other.0).map(count);
        let total: u64 = counts().sum();
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
        let mut seen = 0;
        let bucket = counts().position(|count| {
            seen += count;
            seen > rank
        });
        let quantile = upper_bound(bucket.unwrap_or(BUCKETS - 1));
        self.quantile.store(nanos(quantile), Ordering::Relaxed);
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

/// Returns the bucket of `latency`: the position of the highest bit of its microseconds, and the
/// three bits after it.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
    let exponent = micros.ilog2() as usize;
    let mantissa = if exponent < 3 { micros << (3 - exponent) } else { micros >> (exponent - 3) };
    (exponent * 8 + mantissa as usize % 8).min(BUCKETS - 1)
}

/// Returns the lowest latency above `bucket`.
fn upper_bound(bucket: usize) -> Duration {
    let (exponent, mantissa) = ((bucket + 1) / 8, (bucket + 1) % 8);
    Duration::from_micros((1 << exponent) + ((mantissa as u64) << exponent) / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_are_narrow(micros in 8..1_u64 << 39) {
            let latency = Duration::from_micros(micros);
            let bound = upper_bound(bucket(latency));
            prop_assert!(bound > latency && bound <= latency.mul_f64(1.126), "{bound:?}");
        }
    }

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
