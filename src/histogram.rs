//! A histogram of latencies.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Counts latencies in buckets whose widths grow with the latency, without a lock. Latencies out of
/// range count in the first or the last bucket.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU32]>,
    step_bits: u32,
}

/// The first bucket begins at 2^10 ns.
const MIN_LOG2_NANOS: u32 = 10;

impl Histogram {
    /// Creates a histogram of latencies from 1 µs to `octaves` doublings of that, each of which is
    /// divided into `2^step_bits` buckets.
    pub(crate) fn new(octaves: u32, step_bits: u32) -> Self {
        let buckets = (0..octaves << step_bits).map(|_| AtomicU32::new(0)).collect();
        Self { buckets, step_bits }
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        self.buckets[self.bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    fn bucket(&self, nanos: u64) -> usize {
        let nanos = nanos.max(1 << MIN_LOG2_NANOS);
        let octave = nanos.ilog2();
        // The bits below the highest one.
        let step = (nanos >> (octave - self.step_bits)) - (1 << self.step_bits);
        let bucket = ((octave - MIN_LOG2_NANOS) << self.step_bits) as usize + step as usize;
        bucket.min(self.buckets.len() - 1)
    }

    /// Returns the lowest latency in a bucket, in nanoseconds.
    pub(crate) fn start(&self, bucket: usize) -> u64 {
        let steps = 1 << self.step_bits;
        let (octave, step) = (bucket / steps, bucket % steps);
        ((steps + step) as u64) << (octave as u32 + MIN_LOG2_NANOS - self.step_bits)
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed).into())
    }

    pub(crate) fn clear(&self) {
        self.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }

    /// Returns the number of latencies and the middle of the bucket of their median, and empties
    /// the histogram.
    pub(crate) fn take_median(&self) -> (u32, Duration) {
        let counts = self.buckets.iter().map(|bucket| bucket.swap(0, Ordering::Relaxed).into());
        let counts: Vec<u64> = counts.collect();
        let total: u64 = counts.iter().sum();
        let middle = |bucket| (self.start(bucket) + self.start(bucket + 1)) / 2;
        let median = bucket_of_rank(&counts, total / 2).map_or(0, middle);
        (u32::try_from(total).unwrap_or(u32::MAX), Duration::from_nanos(median))
    }
}

/// Returns the bucket of the latency at `rank`, counted from 0 in ascending order.
pub(crate) fn bucket_of_rank(counts: &[u64], rank: u64) -> Option<usize> {
    let mut seen = 0;
    counts.iter().position(|count| {
        seen += count;
        seen > rank
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_are_narrow(nanos in 1024_u64..1 << 49, step_bits in 2_u32..4) {
            let histogram = Histogram::new(40, step_bits);
            let bucket = histogram.bucket(nanos);
            let (start, end) = (histogram.start(bucket), histogram.start(bucket + 1));
            prop_assert!((start..end).contains(&nanos) && (end - start) << step_bits <= nanos);
        }

        #[test]
        fn the_median_is_right_to_within_an_eighth(
            nanos in prop::collection::vec(1024_u64..100_000_000_000, 1..200),
        ) {
            let histogram = Histogram::new(27, 2);
            nanos.iter().for_each(|&nanos| histogram.record(nanos));
            let mut sorted = nanos;
            sorted.sort_unstable();
            let expected = sorted[sorted.len() / 2] as f64;
            let (count, median) = histogram.take_median();
            prop_assert_eq!(count as usize, sorted.len());
            let error = (median.as_nanos() as f64 / expected - 1.0).abs();
            prop_assert!(error < 0.13, "{median:?} for {expected}");
            prop_assert_eq!(histogram.take_median().0, 0, "the histogram is empty");
        }
    }

    #[test]
    fn latencies_out_of_range_count_in_the_first_and_last_bucket() {
        let histogram = Histogram::new(27, 2);
        [0, u64::MAX, u64::MAX].iter().for_each(|&nanos| histogram.record(nanos));
        let (count, median) = histogram.take_median();
        assert_eq!(count, 3);
        assert!(median > Duration::from_secs(100));
    }
}
