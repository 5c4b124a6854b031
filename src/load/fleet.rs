use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::decayed::greater;
use crate::hash::mix;

/// Statistics over all endpoints: the number of requests in flight at an endpoint of the mean
/// weight, the latency, and how the latency depends on the number in flight.
///
/// A sample is a number in flight `n` and a latency `l`. Each sample has the weight `exp(-t / 5 s)`
/// at the age `t`; `E` is the weighted mean. Published are
///
/// ```text
/// L = E(l),  R = E(n)        means
/// line(n) = a + b * n        linear regression, with
///     b = (E(n * l) - R * L) / (E(n^2) - R^2),  limited to 0.02 * L / (R + 1) ..= L / (R + 1)
///     a = L - b * R
/// ```
///
/// The limits of `b` attribute between 2 % and all of the mean latency to requests in flight.
///
/// Latencies are those that this client measures. Latencies that servers report do not count: a
/// flooded server reports the latency of the few requests that it has finished.
///
/// What readers need is published in words of two `f32` each, with relaxed stores. A pick may read
/// some words before an update and some after it; the error is that of one sample.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// `L` and `R`.
    means: AtomicU64,
    /// `1 / L` and `1 / (R + 1)`.
    inverses: AtomicU64,
    /// `a` and `b`.
    line: AtomicU64,
    /// The number of samples; wraps around, but not to 0.
    responses: AtomicU32,
    /// The number of endpoints with a weight.
    endpoints: AtomicU32,
    /// The sum of their weights.
    weight: AtomicU64,
    /// The sum of the hashes of the weights, modulo 2^64, which shows whether all weights are
    /// equal.
    hashes: AtomicU64,
    /// What follows from the three fields above; see [`weights`](Self::weights).
    weights: AtomicU64,
    sums: Mutex<Sums>,
}

/// The weighted sums of the regression.
#[derive(Debug, Default)]
struct Sums {
    weight: f64,
    in_flight: f64,
    latency: f64,
    product: f64,
    square: f64,
    at: Option<Instant>,
    /// Reports before the first latency.
    untimed: Untimed,
}

#[derive(Debug, Default)]
struct Untimed {
    count: f64,
    in_flight: f64,
}

/// The time constant with which samples lose their weight.
const DECAY_SECS: f64 = 5.0;
/// A latency of more means counts as this many: one long request says little about others.
const MAX_MEAN_LATENCIES: f64 = 5.0;
/// The same for requests in flight: one report must not outweigh thousands.
const MAX_MEANS_IN_FLIGHT: f64 = 10.0;
/// The limits of the first sample, which has no means to compare with.
const MAX_IN_FLIGHT: f64 = 1000.0;
const MAX_LATENCY_SECS: f64 = 60.0;
/// A mean latency of 0 has no inverse.
const MIN_LATENCY_SECS: f64 = 1e-9;
/// The least share of the mean latency that requests in flight are taken to cause. Without it, an
/// endpoint whose line happens to be flat would get all requests.
const MIN_SLOPE: f64 = 0.02;
/// Stands for the mean latency before the first one is measured. Any value compares endpoints.
const UNTIMED_LATENCY_SECS: f64 = 1.0;

/// The number of turns without a request after which nothing is assumed of an endpoint. A turn is
/// as many responses of all endpoints as there are for one of this endpoint, by weight.
const MAX_TURNS: f64 = 8.0;
/// The same if all weights are equal. A light endpoint depends more on its turns: it rarely looks
/// better than a heavy one, which has a fraction of a request in flight for the same weight. Among
/// equal weights, a low number of turns sends requests to servers that are blocked.
const MAX_TURNS_IF_EQUAL: f64 = 64.0;

/// Compares the weight of one endpoint with those of all endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weights {
    /// The mean weight; 0 if all weights are equal, or none is known.
    mean: f64,
    /// The part of what is assumed of an endpoint that is lost with each response of any endpoint,
    /// per unit of the endpoint's weight.
    lost_per_response: f64,
}

impl Weights {
    /// Returns `weight` divided by the mean weight, and the inverse of that. Both are exactly 1 if
    /// all weights are equal.
    #[inline]
    pub(super) fn share(self, weight: u32) -> (f64, f64) {
        if self.mean == 0.0 || weight == 0 {
            return (1.0, 1.0);
        }
        let weight = f64::from(weight);
        (weight / self.mean, self.mean / weight)
    }

    /// Returns the part that is left of what was assumed of an endpoint of this weight, after a
    /// number of `responses` of any endpoint without a request for this one: 1 at first, 0 once all
    /// its turns have passed.
    #[inline]
    pub(super) fn left_after(self, responses: u32, weight: u32) -> f64 {
        greater(1.0 - f64::from(responses) * f64::from(weight) * self.lost_per_response, 0.0)
    }
}

/// Means over all endpoints, and inverses of them: a pick multiplies instead of dividing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) latency: f64,
    pub(super) in_flight: f64,
    /// `1 / latency`
    pub(super) inverse_latency: f64,
    /// `1 / (in_flight + 1)`
    pub(super) inverse_in_flight: f64,
}

impl Fleet {
    /// Returns the means, or `None` before the first report.
    #[inline]
    pub(super) fn means(&self) -> Option<Means> {
        let (latency, in_flight) = unpack(self.means.load(Ordering::Relaxed));
        let (inverse_latency, inverse_in_flight) = unpack(self.inverses.load(Ordering::Relaxed));
        let means = Means { latency, in_flight, inverse_latency, inverse_in_flight };
        (latency > 0.0).then_some(means)
    }

    /// True once a latency has been measured.
    pub(super) fn is_timed(&self) -> bool {
        self.responses() != 0
    }

    /// Returns the number of samples, which wraps around, but not to 0.
    #[inline]
    pub(super) fn responses(&self) -> u32 {
        self.responses.load(Ordering::Relaxed)
    }

    /// Changes the weight of an endpoint; 0 stands for no endpoint.
    pub(super) fn change_weight(&self, before: u32, weight: u32) {
        match (before, weight) {
            (0, 1..) => _ = self.endpoints.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => _ = self.endpoints.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        // Sums modulo 2^64, so that a difference below 0 is added as well.
        let change = u64::from(weight).wrapping_sub(before.into());
        self.weight.fetch_add(change, Ordering::Relaxed);
        let change = hash(weight).wrapping_sub(hash(before));
        self.hashes.fetch_add(change, Ordering::Relaxed);
        self.publish_weights();
    }

    /// Returns what compares the weight of an endpoint with those of all.
    #[inline]
    pub(super) fn weights(&self) -> Weights {
        let (mean, lost_per_response) = unpack(self.weights.load(Ordering::Relaxed));
        Weights { mean, lost_per_response }
    }

    fn publish_weights(&self) {
        let endpoints = u64::from(self.endpoints.load(Ordering::Relaxed).max(1));
        let all = self.weight.load(Ordering::Relaxed);
        let hashes = self.hashes.load(Ordering::Relaxed);
        // If all weights are equal, their sum and the sum of their hashes are multiples. The
        // reverse holds up to collisions of the hash.
        let equal = all % endpoints == 0
            && u32::try_from(all / endpoints)
                .is_ok_and(|weight| hashes == hash(weight).wrapping_mul(endpoints));
        let all = all.max(1) as f64;
        let (mean, turns) =
            if equal { (0.0, MAX_TURNS_IF_EQUAL) } else { (all / endpoints as f64, MAX_TURNS) };
        self.weights.store(pack(mean, 1.0 / (all * turns)), Ordering::Relaxed);
    }

    /// Returns `line(in_flight)`, in seconds.
    #[inline]
    pub(super) fn latency_at(&self, in_flight: f64) -> f64 {
        let (intercept, slope) = unpack(self.line.load(Ordering::Relaxed));
        intercept + slope * in_flight
    }

    /// Learns from one sample. Skips it if another thread is learning: no request waits for the
    /// lock.
    pub(super) fn learn(&self, in_flight: f64, latency: f64, now: Instant) {
        let Ok(mut sums) = self.sums.try_lock() else { return };
        sums.decay(now);
        let (in_flight, latency) =
            sums.clip(in_flight.min(MAX_IN_FLIGHT), latency.min(MAX_LATENCY_SECS));
        sums.add(in_flight, latency);
        let latency = (sums.latency / sums.weight).max(MIN_LATENCY_SECS);
        let in_flight = sums.in_flight / sums.weight;
        let steepest = latency / (in_flight + 1.0);
        let slope = sums.slope(latency, in_flight).clamp(MIN_SLOPE * steepest, steepest);
        self.publish(latency, in_flight, latency - slope * in_flight, slope);
        // Two threads that changed weights at the same time may have published in the wrong order.
        self.publish_weights();
        // Load and store suffice: only this line writes it, and it holds the lock.
        self.responses.store(self.responses().wrapping_add(1).max(1), Ordering::Relaxed);
    }

    /// Learns from a report until a latency has been measured. Until then, the line goes through 0:
    /// each request takes the same share of the time.
    pub(super) fn learn_untimed(&self, in_flight: f64) {
        if self.is_timed() {
            return;
        }
        let Ok(mut sums) = self.sums.try_lock() else { return };
        if sums.weight > 0.0 {
            return;
        }
        sums.untimed.count += 1.0;
        sums.untimed.in_flight += in_flight.min(MAX_IN_FLIGHT);
        let in_flight = sums.untimed.in_flight / sums.untimed.count;
        let slope = UNTIMED_LATENCY_SECS / (in_flight + 1.0);
        self.publish(UNTIMED_LATENCY_SECS, in_flight, slope, slope);
    }

    fn publish(&self, latency: f64, in_flight: f64, intercept: f64, slope: f64) {
        self.means.store(pack(latency, in_flight), Ordering::Relaxed);
        let inverses = pack(1.0 / latency, 1.0 / (in_flight + 1.0));
        self.inverses.store(inverses, Ordering::Relaxed);
        self.line.store(pack(intercept, slope), Ordering::Relaxed);
    }
}

impl Sums {
    fn decay(&mut self, now: Instant) {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let kept = (-passed / DECAY_SECS).exp();
        self.weight *= kept;
        self.in_flight *= kept;
        self.latency *= kept;
        self.product *= kept;
        self.square *= kept;
        // Samples of several threads are not in order; time must not run backwards.
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }

    /// Limits a sample by the means of those before it.
    fn clip(&self, in_flight: f64, latency: f64) -> (f64, f64) {
        if self.weight < 1.0 {
            return (in_flight, latency);
        }
        let max = MAX_MEANS_IN_FLIGHT * (self.in_flight / self.weight + 1.0);
        (in_flight.min(max), latency.min(MAX_MEAN_LATENCIES * self.latency / self.weight))
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
        // Without variance there is no slope, and rounding errors must not become one.
        if variance > 1e-6 { covariance / variance } else { 0.0 }
    }
}

/// Hashes a weight; 0 stands for no endpoint and adds nothing.
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
    fn the_line_fits_the_samples() {
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
            weights.iter().for_each(|&weight| fleet.change_weight(0, weight));
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
        let extreme = percent_left(&[1, 1, 1, 1, u32::MAX], u32::MAX, 8);
        assert_eq!(extreme, 0.0);
    }

    #[test]
    fn equality_is_kept_up_to_date_as_weights_change() {
        let fleet = Fleet::default();
        let equal = || fleet.weights().share(6) == (1.0, 1.0);
        assert!(equal(), "no endpoint has a weight");
        (0..4).for_each(|_| fleet.change_weight(0, 3));
        assert!(equal());
        fleet.change_weight(3, 9);
        assert_eq!(fleet.weights().share(9), (2.0, 0.5), "with a mean of 4.5");
        fleet.change_weight(9, 0);
        assert!(equal(), "the different weight is gone");
        fleet.change_weight(3, 1);
        fleet.change_weight(3, 5);
        assert!(!equal(), "two weights differ from the mean");
        assert_eq!(fleet.weights().share(3), (1.0, 1.0));
    }

    #[test]
    fn latency_never_falls_with_requests_in_flight_even_after_extreme_samples() {
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
