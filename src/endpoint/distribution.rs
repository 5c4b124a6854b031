use std::time::Duration;

use crate::histogram::{Histogram, bucket_of_rank};

/// How long a number of things took: counts by duration, as read at one moment.
///
/// A duration is known to an eighth, between 1 µs and 137 s, or 19 h for waits. Shorter and longer
/// ones count in the first and the last bucket. A count wraps around at 2^32.
///
/// With feature `serde` it serializes as `count`, and `p50`, `p90` and `p99` in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The lower bounds of the buckets in nanoseconds, and how many durations each has.
    buckets: Vec<(u64, u64)>,
}

impl Distribution {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let starts = (0..).map(|bucket| histogram.start(bucket));
        Self { buckets: starts.zip(histogram.counts()).collect() }
    }

    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Returns the duration that a share of `quantile` of all durations does not exceed; `None` if
    /// none was counted. 0.5 is the median; values are limited to the range from 0 to 1.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let counts: Vec<_> = self.buckets.iter().map(|&(_, count)| count).collect();
        let last = self.count().checked_sub(1)?;
        // NaN counts as 0: the cast saturates.
        let rank = (last as f64 * quantile.clamp(0.0, 1.0)).round() as u64;
        bucket_of_rank(&counts, rank).map(|bucket| self.middle(bucket))
    }

    /// Returns the durations in the middle of the buckets, in ascending order, and how many
    /// durations each bucket has.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.buckets.iter().enumerate();
        counts.map(|(bucket, &(_, count))| (self.middle(bucket), count))
    }

    fn middle(&self, bucket: usize) -> Duration {
        let (start, _) = self.buckets[bucket];
        // The last bucket is open; the one before has the same width or half of it.
        let end = match self.buckets.get(bucket + 1) {
            Some(&(end, _)) => end,
            None => start + start / 4,
        };
        Duration::from_nanos(start + (end - start) / 2)
    }

    /// Returns what was counted since an earlier reading of the same histogram.
    #[cfg(feature = "metrics")]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for ((_, count), (_, before)) in since.buckets.iter_mut().zip(&earlier.buckets) {
            // A count wraps around at 2^32.
            *count = count.checked_sub(*before).unwrap_or((1 << 32) + *count - *before);
        }
        since
    }

    /// Adds the counts of another distribution.
    pub fn merge(&mut self, other: &Self) {
        let more = other.buckets.iter().skip(self.buckets.len());
        self.buckets.extend(more.map(|&(start, _)| (start, 0)));
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let seconds = |quantile| self.quantile(quantile).map(|duration| duration.as_secs_f64());
        let mut fields = serializer.serialize_struct("Distribution", 4)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("p50", &seconds(0.5))?;
        fields.serialize_field("p90", &seconds(0.9))?;
        fields.serialize_field("p99", &seconds(0.99))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let histogram = Histogram::new(27, 2);
        (1..=1000).for_each(|millis| histogram.record(millis * 1_000_000));
        let distribution = Distribution::of(&histogram);
        assert_eq!(distribution.count(), 1000);
        for (quantile, expected) in [(0.0, 0.001), (0.5, 0.5), (0.99, 0.99), (2.0, 1.0)] {
            let found = distribution.quantile(quantile).unwrap().as_secs_f64();
            assert!((found / expected - 1.0).abs() < 0.13, "{quantile}: {found}");
        }
        assert_eq!(distribution.quantile(f64::NAN), distribution.quantile(0.0));
        let mut twice = distribution.clone();
        twice.merge(&distribution);
        assert_eq!(twice.count(), 2000);
        assert_eq!(Distribution::default().quantile(0.5), None);
    }
}
