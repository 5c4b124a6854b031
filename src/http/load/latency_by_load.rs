//! How long requests take at a server, by how many there are.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// A server's latest latencies by the number of requests that were there when each came.
///
/// What requests take right now depends on how many there are right now: an average of the latest
/// latencies would tell the load of a moment ago, which the number in flight tells better. A latency
/// counts for [`MAX_AGE`]: without a limit, a stall at a number in flight that is rare would be told
/// whenever that number comes back, for days. Nothing waits here: of two latencies that are recorded
/// at the same time, one may be lost.
///
/// Times are what has passed since an origin of the caller's choice, the same for all calls.
///
/// Source: Prequal (NSDI 2024), whose probes are answered with the median at or near the current number
/// in flight.
#[derive(Debug)]
pub(crate) struct LatencyByLoad {
    levels: Box<[Level; LEVELS]>,
}

/// The latest latencies at one number in flight, as [`Sample::pack`] writes them: 0 where there is none yet.
#[derive(Debug, Default)]
struct Level {
    latest: [AtomicU64; KEPT],
    next: AtomicU32,
}

/// A latency and when it was recorded, both in seconds.
#[derive(Clone, Copy, Debug)]
struct Sample {
    latency: f32,
    at: u32,
}

impl Sample {
    fn new(latency: f64, now: Duration) -> Self {
        Self { latency: (latency as f32).max(f32::MIN_POSITIVE), at: seconds(now) }
    }

    /// In one word, so that a latency is never seen with the time of another. Never 0: no latency is.
    fn pack(self) -> u64 {
        u64::from(self.latency.to_bits()) << 32 | u64::from(self.at)
    }

    /// The latency, if there is one and it still counts.
    fn fresh(bits: u64, now: Duration) -> Option<f32> {
        let sample = Self { latency: f32::from_bits((bits >> 32) as u32), at: bits as u32 };
        let age = seconds(now).saturating_sub(sample.at);
        (bits != 0 && u64::from(age) < MAX_AGE.as_secs()).then_some(sample.latency)
    }
}

/// Whole seconds: enough to tell whether a latency still counts.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// How long a latency counts, to within a second.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Latencies kept for each number in flight, and how many make a median.
const KEPT: usize = 12;
const ENOUGH: usize = 5;
/// The highest number in flight stands for all above.
const LEVELS: usize = 64;

impl Default for LatencyByLoad {
    fn default() -> Self {
        Self { levels: Box::new(std::array::from_fn(|_| Level::default())) }
    }
}

impl LatencyByLoad {
    /// Records at `now` that a request which found `in_flight` others took `latency`, in seconds.
    pub(crate) fn record(&self, in_flight: u32, latency: f64, now: Duration) {
        let level = &self.levels[(in_flight as usize).min(LEVELS - 1)];
        let next = level.next.fetch_add(1, Ordering::Relaxed) as usize % KEPT;
        level.latest[next].store(Sample::new(latency, now).pack(), Ordering::Relaxed);
    }

    /// Returns the median of the latest latencies at this load or the nearest ones, in seconds; 0 if
    /// none was recorded within [`MAX_AGE`].
    #[must_use]
    pub(crate) fn near(&self, in_flight: u32, now: Duration) -> f64 {
        let level = (in_flight as usize).min(LEVELS - 1);
        let mut some = [0.0_f32; ENOUGH + 2 * KEPT];
        let mut count = 0;
        for distance in 0..LEVELS {
            let around = [level.checked_sub(distance), Some(level + distance)];
            for level in around.into_iter().take(1 + usize::from(distance > 0)).flatten() {
                let latest = self.levels.get(level).into_iter().flat_map(|level| &level.latest);
                let fresh =
                    latest.filter_map(|bits| Sample::fresh(bits.load(Ordering::Relaxed), now));
                for latency in fresh {
                    if count < some.len() {
                        some[count] = latency;
                        count += 1;
                    }
                }
            }
            if count >= ENOUGH {
                break;
            }
        }
        let some = &mut some[..count];
        match count {
            0 => 0.0,
            _ => f64::from(*some.select_nth_unstable_by(count / 2, f32::total_cmp).1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_nearest_loads() {
        let (latencies, now) = (LatencyByLoad::default(), Duration::ZERO);
        let record = |in_flight, latency| latencies.record(in_flight, latency, now);
        let near = |in_flight| latencies.near(in_flight, now);
        assert_eq!(near(3), 0.0);
        (0..5).for_each(|_| record(2, 0.25));
        (0..5).for_each(|_| record(8, 1.0));
        (0..5).for_each(|_| record(u32::MAX, 4.0));
        assert_eq!([0, 3, 7, 1000].map(near), [0.25, 0.25, 1.0, 4.0]);
        record(2, 60.0);
        assert_eq!(near(2), 0.25, "one long request");
        (0..KEPT).for_each(|_| record(2, 0.5));
        assert_eq!(near(2), 0.5, "the latest");
        record(4, f64::INFINITY);
        record(4, f64::NAN);
        assert!(near(4) > 0.0);
    }

    #[test]
    fn a_latency_counts_for_a_minute() {
        let latencies = LatencyByLoad::default();
        let at = Duration::from_secs;
        (0..5).for_each(|_| latencies.record(40, 5.0, at(1000)));
        (0..3).for_each(|_| latencies.record(2, 0.25, at(1030)));
        assert_eq!(latencies.near(40, at(1059)), 5.0);
        assert_eq!(latencies.near(40, at(1060)), 0.25, "of the nearest load that is known");
        assert_eq!(latencies.near(40, at(999)), 5.0, "a clock that steps back passes no time");
        latencies.record(40, 0.5, at(1080));
        assert_eq!(latencies.near(40, at(1089)), 0.25, "most of the four that count");
        assert_eq!(latencies.near(40, at(1090)), 0.5);
        assert_eq!(latencies.near(40, at(1140)), 0.0, "nothing is known");
        latencies.record(40, 0.5, Duration::MAX);
        assert_eq!(latencies.near(40, Duration::MAX), 0.5);
    }
}
