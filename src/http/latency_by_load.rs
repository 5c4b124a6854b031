//! How long requests take at a server, by how many there are.

use std::sync::atomic::{AtomicU32, Ordering};

/// A server's latest latencies by the number of requests that were there when each came.
///
/// What requests take right now depends on how many there are right now: an average of the latest
/// latencies would tell the load of a moment ago, which the number in flight tells better. Nothing
/// waits here: of two latencies that are recorded at the same time, one may be lost.
///
/// Source: Prequal (NSDI 2024), whose probes are answered with the median at or near the current number
/// in flight.
#[derive(Debug)]
pub(crate) struct LatencyByLoad {
    levels: Box<[Level; LEVELS]>,
}

/// The latest latencies at one number in flight: the bits of `f32` seconds, 0 where there is none yet.
#[derive(Debug, Default)]
struct Level {
    latest: [AtomicU32; KEPT],
    next: AtomicU32,
}

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
    /// A request that found `in_flight` others took `seconds`.
    pub(crate) fn record(&self, in_flight: u32, seconds: f64) {
        let level = &self.levels[(in_flight as usize).min(LEVELS - 1)];
        let next = level.next.fetch_add(1, Ordering::Relaxed) as usize % KEPT;
        let latency = (seconds as f32).max(f32::MIN_POSITIVE);
        level.latest[next].store(latency.to_bits(), Ordering::Relaxed);
    }

    /// The median of the latest that came at this load or the nearest ones, in seconds; 0 if there
    /// is none.
    #[must_use]
    pub(crate) fn near(&self, in_flight: u32) -> f64 {
        let level = (in_flight as usize).min(LEVELS - 1);
        let mut some = [0.0_f32; ENOUGH + 2 * KEPT];
        let mut count = 0;
        for distance in 0..LEVELS {
            let around = [level.checked_sub(distance), Some(level + distance)];
            for level in around.into_iter().take(1 + usize::from(distance > 0)).flatten() {
                let latest = self.levels.get(level).into_iter().flat_map(|level| &level.latest);
                for latency in latest.map(|latency| latency.load(Ordering::Relaxed)) {
                    if latency > 0 && count < some.len() {
                        some[count] = f32::from_bits(latency);
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
        let latencies = LatencyByLoad::default();
        assert_eq!(latencies.near(3), 0.0);
        (0..5).for_each(|_| latencies.record(2, 0.25));
        (0..5).for_each(|_| latencies.record(8, 1.0));
        (0..5).for_each(|_| latencies.record(u32::MAX, 4.0));
        assert_eq!([0, 3, 7, 1000].map(|load| latencies.near(load)), [0.25, 0.25, 1.0, 4.0]);
        latencies.record(2, 60.0);
        assert_eq!(latencies.near(2), 0.25, "one long request");
        (0..KEPT).for_each(|_| latencies.record(2, 0.5));
        assert_eq!(latencies.near(2), 0.5, "the latest");
        latencies.record(4, f64::INFINITY);
        latencies.record(4, f64::NAN);
        assert!(latencies.near(4) > 0.0);
    }
}
