use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// The latest latencies of a server, by the number of requests in flight when each request arrived.
///
/// The latency of a request depends on the requests in flight now. An average of the latest
/// latencies would describe the load of a moment ago. A latency counts for [`MAX_AGE`]: without a
/// limit, a stall at a rare number in flight would be reported whenever that number recurs, for
/// days.
///
/// There is no lock: of two latencies that are recorded concurrently, one may be lost. All times
/// are the time since the same instant, which the caller chooses.
///
/// Source: Prequal (NSDI 2024), where a server answers a probe with the median at or near the
/// current number in flight.
#[derive(Debug)]
pub(crate) struct LatencyByLoad {
    levels: Box<[Level; LEVELS]>,
}

/// The latest latencies at one number in flight, in the form of [`Sample::pack`]; 0 is no sample.
#[derive(Debug, Default)]
struct Level {
    latest: [AtomicU64; SAMPLES_PER_LEVEL],
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

    /// Returns latency and time in one word, so that a reader never sees the latency of one sample
    /// with the time of another. Never 0, because the latency is positive.
    fn pack(self) -> u64 {
        u64::from(self.latency.to_bits()) << 32 | u64::from(self.at)
    }

    /// Returns the latency, if `bits` is a sample younger than [`MAX_AGE`].
    fn fresh(bits: u64, now: Duration) -> Option<f32> {
        let sample = Self { latency: f32::from_bits((bits >> 32) as u32), at: bits as u32 };
        let age = seconds(now).saturating_sub(sample.at);
        (bits != 0 && u64::from(age) < MAX_AGE.as_secs()).then_some(sample.latency)
    }
}

/// Returns whole seconds, which are exact enough for [`MAX_AGE`].
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// How long a latency counts, with a precision of one second.
const MAX_AGE: Duration = Duration::from_secs(60);

/// How many latencies are kept for each number in flight.
const SAMPLES_PER_LEVEL: usize = 12;
/// How many latencies a median needs.
const MIN_SAMPLES: usize = 5;
/// How many numbers in flight are distinguished. The last level includes all higher numbers.
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
        // Relaxed suffices: each slot is one word, and its content does not depend on another one.
        let next = level.next.fetch_add(1, Ordering::Relaxed) as usize % SAMPLES_PER_LEVEL;
        level.latest[next].store(Sample::new(latency, now).pack(), Ordering::Relaxed);
    }

    /// Returns the median of the latest latencies at this load or the nearest ones, in seconds; 0
    /// if none was recorded within [`MAX_AGE`].
    #[must_use]
    pub(crate) fn near(&self, in_flight: u32, now: Duration) -> f64 {
        let level = (in_flight as usize).min(LEVELS - 1);
        let mut samples = [0.0_f32; MIN_SAMPLES + 2 * SAMPLES_PER_LEVEL];
        let mut count = 0;
        // Takes whole levels, the nearest first, until there are enough samples. A distance adds at
        // most two levels, so the array has room for all of them.
        for distance in 0..LEVELS {
            let around = [level.checked_sub(distance), Some(level + distance)];
            for level in around.into_iter().take(1 + usize::from(distance > 0)).flatten() {
                let latest = self.levels.get(level).into_iter().flat_map(|level| &level.latest);
                let fresh =
                    latest.filter_map(|bits| Sample::fresh(bits.load(Ordering::Relaxed), now));
                for latency in fresh {
                    if count < samples.len() {
                        samples[count] = latency;
                        count += 1;
                    }
                }
            }
            if count >= MIN_SAMPLES {
                break;
            }
        }
        let samples = &mut samples[..count];
        match count {
            0 => 0.0,
            _ => f64::from(*samples.select_nth_unstable_by(count / 2, f32::total_cmp).1),
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
        (0..SAMPLES_PER_LEVEL).for_each(|_| record(2, 0.5));
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
        assert_eq!(latencies.near(40, at(1060)), 0.25, "from the nearest known load");
        assert_eq!(latencies.near(40, at(999)), 5.0, "a clock that steps back ages no sample");
        latencies.record(40, 0.5, at(1080));
        assert_eq!(latencies.near(40, at(1089)), 0.25, "the median of the four that count");
        assert_eq!(latencies.near(40, at(1090)), 0.5);
        assert_eq!(latencies.near(40, at(1140)), 0.0, "no latency counts");
        latencies.record(40, 0.5, Duration::MAX);
        assert_eq!(latencies.near(40, Duration::MAX), 0.5);
    }
}
