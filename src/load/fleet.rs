use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::decayed::greater;
use crate::hash::mix;

/// What all endpoints show together: how many requests an endpoint of the mean weight has in flight,
/// how long requests take, and how the one depends on the other.
///
/// Latencies are those that this client measures. Latencies that servers report teach nothing here: a
/// flooded server reports the latency of the few requests that it has finished.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// Mean latency and mean in flight.
    means: AtomicU64,
    /// The inverses of the mean latency, and of the mean in flight plus one.
    inverses: AtomicU64,
    /// Intercept and slope of the latency over the requests in flight.
    line: AtomicU64,
    /// How many samples were learned from; wraps around.
    answers: AtomicU32,
    /// How many endpoints there are.
    endpoints: AtomicU32,
    /// The sum of their weights.
    weight: AtomicU64,
    /// The sum of a hash of each weight, modulo 2^64: shows whether all weights are equal.
    hashes: AtomicU64,
    /// What follows from the three above: see [`weights`](Self::weights).
    weights: AtomicU64,
    sums: Mutex<Sums>,
}

/// Of a linear regression whose samples fade.
#[derive(Debug, Default)]
struct Sums {
    weight: f64,
    in_flight: f64,
    latency: f64,
    product: f64,
    square: f64,
    at: Option<Instant>,
    /// Of reports that came before any latency was known.
    untimed: Untimed,
}

#[derive(Debug, Default)]
struct Untimed {
    count: f64,
    in_flight: f64,
}

/// Time constant, in seconds, with which samples fade.
const MEMORY: f64 = 5.0;
/// A latency above so many means counts as that: one long request says little of the others.
const CLIPPED: f64 = 5.0;
/// The same for requests in flight, where one report must not outweigh thousands.
const CLIPPED_IN_FLIGHT: f64 = 10.0;
/// What the very first sample may say.
const MOST: f64 = 1000.0;
const LONGEST: f64 = 60.0;
/// Seconds; a mean of nothing has no inverse.
const SHORTEST: f64 = 1e-9;
/// The least share of the mean latency that requests in flight are taken to cause. Without a floor,
/// an endpoint that happens to look flat would get everything.
const LEAST_SLOPE: f64 = 0.02;
/// Seconds that stand for the mean latency while none is known: endpoints can be compared by any.
const UNTIMED: f64 = 1.0;

/// Turns without a request after which nothing is assumed of an endpoint any more. A turn is as many
/// responses of all endpoints as there are for one of this endpoint, by weight.
const TURNS: f64 = 8.0;
/// The same where all weights are equal. A light endpoint depends more on its turns: it rarely looks
/// better than a heavy one, which has a fraction of a request in flight for the same weight. Among equals
/// a short bound sends requests to servers that are blocked.
const TURNS_OF_EQUALS: f64 = 64.0;

/// What the weights of all endpoints say of the weight of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weights {
    /// 0 where all weights are equal, or none is known.
    mean: f64,
    /// How much of what is assumed of an endpoint fades with each response of the fleet, per unit of
    /// the endpoint's weight.
    fading: f64,
}

impl Weights {
    /// Returns how an endpoint of this weight compares with one of the mean weight, and the inverse of that:
    /// exactly 1 where all weights are equal.
    #[inline]
    pub(super) fn share(self, weight: u32) -> (f64, f64) {
        if self.mean == 0.0 || weight == 0 {
            return (1.0, 1.0);
        }
        let weight = f64::from(weight);
        (weight / self.mean, self.mean / weight)
    }

    /// Returns what is left of what was assumed of an endpoint of this weight, after so many responses of
    /// the fleet without a request for it: 1 at first, 0 once all its turns have passed.
    #[inline]
    pub(super) fn left_after(self, responses: u32, weight: u32) -> f64 {
        greater(1.0 - f64::from(responses) * f64::from(weight) * self.fading, 0.0)
    }
}

/// Means over the fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) latency: f64,
    pub(super) in_flight: f64,
    /// 1 / latency
    pub(super) rate: f64,
    /// 1 / (in_flight + 1)
    pub(super) crowding: f64,
}

impl Fleet {
    /// `None` before the first report.
    #[inline]
    pub(super) fn means(&self) -> Option<Means> {
        let (latency, in_flight) = unpack(self.means.load(Ordering::Relaxed));
        let (rate, crowding) = unpack(self.inverses.load(Ordering::Relaxed));
        (latency > 0.0).then_some(Means { latency, in_flight, rate, crowding })
    }

    /// True once a latency has been measured.
    pub(super) fn is_timed(&self) -> bool {
        self.answers.load(Ordering::Relaxed) != 0
    }

    /// How many samples were learned from; wraps around, but not to 0.
    #[inline]
    pub(super) fn answers(&self) -> u32 {
        self.answers.load(Ordering::Relaxed)
    }

    /// An endpoint's weight, 0 for none, is another now.
    pub(super) fn reweighed(&self, before: u32, weight: u32) {
        match (before, weight) {
            (0, 1..) => _ = self.endpoints.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => _ = self.endpoints.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        let change = u64::from(weight).wrapping_sub(before.into());
        self.weight.fetch_add(change, Ordering::Relaxed);
        let change = hash(weight).wrapping_sub(hash(before));
        self.hashes.fetch_add(change, Ordering::Relaxed);
        self.publish_weights();
    }

    /// Returns what the weights of all endpoints say of the weight of one.
    #[inline]
    pub(super) fn weights(&self) -> Weights {
        let (mean, fading) = unpack(self.weights.load(Ordering::Relaxed));
        Weights { mean, fading }
    }

    fn publish_weights(&self) {
        let endpoints = u64::from(self.endpoints.load(Ordering::Relaxed).max(1));
        let all = self.weight.load(Ordering::Relaxed);
        let hashes = self.hashes.load(Ordering::Relaxed);
        let equal = all % endpoints == 0
            && u32::try_from(all / endpoints)
                .is_ok_and(|weight| hashes == hash(weight).wrapping_mul(endpoints));
        let all = all.max(1) as f64;
        let (mean, turns) =
            if equal { (0.0, TURNS_OF_EQUALS) } else { (all / endpoints as f64, TURNS) };
        self.weights.store(pack(mean, 1.0 / (all * turns)), Ordering::Relaxed);
    }

    /// The latency in seconds to expect of an endpoint like any other with so many in flight.
    #[inline]
    pub(super) fn latency_at(&self, in_flight: f64) -> f64 {
        let (intercept, slope) = unpack(self.line.load(Ordering::Relaxed));
        intercept + slope * in_flight
    }

    /// Learns from one sample; skips it if another thread is at it.
    pub(super) fn learn(&self, in_flight: f64, latency: f64, now: Instant) {
        let Ok(mut sums) = self.sums.try_lock() else { return };
        sums.fade(now);
        let (in_flight, latency) = sums.clipped(in_flight.min(MOST), latency.min(LONGEST));
        sums.add(in_flight, latency);
        let latency = (sums.latency / sums.weight).max(SHORTEST);
        let in_flight = sums.in_flight / sums.weight;
        let steepest = latency / (in_flight + 1.0);
        let slope = sums.slope(latency, in_flight).clamp(LEAST_SLOPE * steepest, steepest);
        self.publish(latency, in_flight, latency - slope * in_flight, slope);
        // Two endpoints that were weighed at the same time may have published the older figures last.
        self.publish_weights();
        // Only here, under the lock.
        self.answers.store(self.answers().wrapping_add(1).max(1), Ordering::Relaxed);
    }

    /// Learns from a report while no latency has been measured.
    pub(super) fn learn_untimed(&self, in_flight: f64) {
        if self.is_timed() {
            return;
        }
        let Ok(mut sums) = self.sums.try_lock() else { return };
        if sums.weight > 0.0 {
            return;
        }
        sums.untimed.count += 1.0;
        sums.untimed.in_flight += in_flight.min(MOST);
        let in_flight = sums.untimed.in_flight / sums.untimed.count;
        let slope = UNTIMED / (in_flight + 1.0);
        self.publish(UNTIMED, in_flight, slope, slope);
    }

    fn publish(&self, latency: f64, in_flight: f64, intercept: f64, slope: f64) {
        self.means.store(pack(latency, in_flight), Ordering::Relaxed);
        let inverses = pack(1.0 / latency, 1.0 / (in_flight + 1.0));
        self.inverses.store(inverses, Ordering::Relaxed);
        self.line.store(pack(intercept, slope), Ordering::Relaxed);
    }
}

impl Sums {
    fn fade(&mut self, now: Instant) {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let kept = (-passed / MEMORY).exp();
        self.weight *= kept;
        self.in_flight *= kept;
        self.latency *= kept;
        self.product *= kept;
        self.square *= kept;
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    /// The sample, no further from what the others say than one sample should be.
    fn clipped(&self, in_flight: f64, latency: f64) -> (f64, f64) {
        if self.weight < 1.0 {
            return (in_flight, latency);
        }
        let most = CLIPPED_IN_FLIGHT * (self.in_flight / self.weight + 1.0);
        (in_flight.min(most), latency.min(CLIPPED * self.latency / self.weight))
    }

    fn add(&mut self, in_flight: f64, latency: f64) {
        self.weight += 1.0;
        self.in_flight += in_flight;
        self.latency += latency;
        self.product += in_flight * latency;
        self.square += in_flight * in_flight;
    }

    fn slope(&self, latency: f64, in_flight: f64) -> f64 {
        let variance = self.square / self.weight - in_flight * in_flight;
        let covariance = self.product / self.weight - in_flight * latency;
        if variance > 1e-6 { covariance / variance } else { 0.0 }
    }
}

/// Returns 0 for no weight, so that endpoints without one don't count.
fn hash(weight: u32) -> u64 {
    if weight == 0 { 0 } else { mix(weight.into()) }
}

fn pack(first: f64, second: f64) -> u64 {
    let bits = |value: f64| u64::from((value as f32).to_bits());
    bits(first) << 32 | bits(second)
}

#[inline]
fn unpack(bits: u64) -> (f64, f64) {
    (f32::from_bits((bits >> 32) as u32).into(), f32::from_bits(bits as u32).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_samples() {
        let (fleet, now) = (Fleet::default(), Instant::now());
        assert!(fleet.means().is_none());
        fleet.learn_untimed(1.0);
        fleet.learn_untimed(3.0);
        assert_eq!(fleet.means().map(|means| means.in_flight), Some(2.0));
        let [idle, mean] = [0.0, 2.0].map(|in_flight| fleet.latency_at(in_flight));
        assert!((mean / idle - 3.0).abs() < 1e-6, "each request takes the same share");
        for in_flight in 0..10 {
            let in_flight = f64::from(in_flight);
            fleet.learn(in_flight, 0.010 + 0.001 * in_flight, now);
        }
        for (in_flight, latency) in [(0.0, 0.010), (4.0, 0.014), (20.0, 0.030)] {
            assert!((fleet.latency_at(in_flight) - latency).abs() < 1e-5);
        }
    }

    #[test]
    fn turns_are_long_only_where_all_weights_are_equal() {
        let percent_left = |weights: &[u32], weight, responses| {
            let fleet = Fleet::default();
            weights.iter().for_each(|&weight| fleet.reweighed(0, weight));
            (100.0 * fleet.weights().left_after(responses, weight)).round()
        };
        for (weight, turn) in [(1, 6), (2, 3), (3, 2)] {
            let left = [0, 4, 8].map(|turns| percent_left(&[1, 2, 3], weight, turns * turn));
            assert_eq!(left, [100.0, 50.0, 0.0], "{weight}, of a mean of 2");
        }
        for weight in [1, 100, (1 << 24) + 1, u32::MAX] {
            let left = [0, 32, 64].map(|turns| percent_left(&[weight; 3], weight, turns * 3));
            assert_eq!(left, [100.0, 50.0, 0.0], "all are {weight}");
        }
        let absurd = percent_left(&[1, 1, 1, 1, u32::MAX], u32::MAX, 8);
        assert_eq!(absurd, 0.0);
    }

    #[test]
    fn equality_is_kept_up_to_date_as_weights_change() {
        let fleet = Fleet::default();
        let equal = || fleet.weights().share(6) == (1.0, 1.0);
        assert!(equal(), "nothing is known");
        (0..4).for_each(|_| fleet.reweighed(0, 3));
        assert!(equal());
        fleet.reweighed(3, 9);
        assert_eq!(fleet.weights().share(9), (2.0, 0.5), "beside a mean of 4.5");
        fleet.reweighed(9, 0);
        assert!(equal(), "the odd one is gone");
        fleet.reweighed(3, 1);
        fleet.reweighed(3, 5);
        assert!(!equal(), "though one has the mean weight");
        assert_eq!(fleet.weights().share(3), (1.0, 1.0));
    }

    #[test]
    fn flat_and_absurd_samples_still_say_that_more_is_slower() {
        for latencies in [[0.01, 0.01], [0.02, 0.01], [1e300, 0.0], [0.0, 0.0]] {
            let (fleet, now) = (Fleet::default(), Instant::now());
            fleet.learn(1.0, latencies[0], now);
            fleet.learn(5.0, latencies[1], now);
            fleet.learn(1e300, latencies[1], now);
            let [few, many] = [1.0, 1e6].map(|in_flight| fleet.latency_at(in_flight));
            assert!(few <= many || !many.is_finite(), "{latencies:?}: {few} {many}");
        }
    }
}
