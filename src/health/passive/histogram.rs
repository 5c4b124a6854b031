use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Counts latencies in buckets a quarter of an octave wide, without a lock. Latencies are limited
/// to the range from 1 µs to 2 minutes.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU32]>,
}

/// The first bucket begins at 2^10 ns, the last one ends at 2^37 ns.
const MIN_LOG2_NANOS: u32 = 10;
const OCTAVES: u32 = 27;

impl Histogram {
    pub(super) fn new() -> Self {
        Self { buckets: (0..OCTAVES * 4).map(|_| AtomicU32::new(0)).collect() }
    }

    pub(super) fn record(&self, nanos: u64) {
        let nanos = nanos.clamp(1 << MIN_LOG2_NANOS, (1 << (MIN_LOG2_NANOS + OCTAVES)) - 1);
        let octave = nanos.ilog2();
        // The two bits below the highest one.
        let quarter = (nanos >> (octave - 2)) & 3;
        let bucket = (octave - MIN_LOG2_NANOS) as usize * 4 + quarter as usize;
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of latencies and their median to within 13 %, and empties the histogram.
    pub(super) fn take(&self) -> (u32, Duration) {
        let counts: Vec<_> =
            self.buckets.iter().map(|bucket| bucket.swap(0, Ordering::Relaxed)).collect();
        let total = counts.iter().fold(0, |total: u32, &count| total.saturating_add(count));
        let mut below = 0_u32;
        let median = counts.iter().position(|&count| {
            below = below.saturating_add(count);
            below > total / 2
        });
        (total, median.map_or(Duration::ZERO, middle))
    }
}

/// Returns the middle of a bucket.
fn middle(bucket: usize) -> Duration {
    let octave = MIN_LOG2_NANOS + bucket as u32 / 4;
    // The bucket spans two eighths of its octave; the middle is one eighth above its start.
    let eighths = 8 + 2 * (bucket as u64 % 4) + 1;
    Duration::from_nanos(eighths << (octave - 3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_median_is_right_to_within_an_eighth(
            nanos in prop::collection::vec(1024_u64..100_000_000_000, 1..200),
        ) {
            let histogram = Histogram::new();
            nanos.iter().for_each(|&nanos| histogram.record(nanos));
            let mut sorted = nanos;
            sorted.sort_unstable();
            let expected = sorted[sorted.len() / 2] as f64;
            let (count, median) = histogram.take();
            prop_assert_eq!(count as usize, sorted.len());
            let error = (median.as_nanos() as f64 / expected - 1.0).abs();
            prop_assert!(error < 0.13, "{median:?} for {expected}");
            prop_assert_eq!(histogram.take().0, 0, "the histogram is empty");
        }
    }

    #[test]
    fn latencies_out_of_range_count_in_the_first_and_last_bucket() {
        let histogram = Histogram::new();
        for nanos in [0, u64::MAX, u64::MAX] {
            histogram.record(nanos);
        }
        let (count, median) = histogram.take();
        assert_eq!(count, 3);
        assert!(median > Duration::from_secs(100));
    }
}
