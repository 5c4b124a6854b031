use super::{AnomalyDetection, fisher::probability_by_chance, window::Tally};

/// What the counts of an interval mean for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It fails more often than its peers.
    Worse,
    /// It does about as well as its peers.
    Alike,
    /// There are too few requests to tell.
    Unknown,
}

/// The requests that an anomalous endpoint must serve well for each step of its return.
const MIN_REQUESTS_TO_RETURN: u64 = 10;
/// The intervals after which an anomalous endpoint returns by a step although it got fewer
/// requests, if none of them contradicts. Otherwise a group with little traffic would keep it out.
const MAX_INTERVALS_PER_STEP: u32 = 12;
/// The factors of a step. The share falls faster than it rises.
const STEP_DOWN: f64 = 0.5;
const STEP_UP: f64 = 1.5;

impl AnomalyDetection {
    /// Compares an endpoint of normal share with its peers. `tests` is how many endpoints are
    /// compared: the more, the less a rare result means.
    pub(super) fn detect(&self, endpoint: Tally, peers: Tally, tests: usize) -> Verdict {
        if !self.exceeds(endpoint, peers) {
            return Verdict::Alike;
        }
        let significance = self.significance / tests.max(1) as f64;
        if probability_by_chance(endpoint, peers) < significance {
            Verdict::Worse
        } else {
            Verdict::Unknown
        }
    }

    /// Compares an endpoint that is anomalous already. It has little traffic, so its errors count
    /// without a test, and only a number of good responses counts for it. `intervals` is the time
    /// since its last step.
    pub(super) fn reconsider(&self, endpoint: Tally, peers: Tally, intervals: u32) -> Verdict {
        if self.exceeds(endpoint, peers) {
            Verdict::Worse
        } else if endpoint.requests >= MIN_REQUESTS_TO_RETURN || intervals >= MAX_INTERVALS_PER_STEP
        {
            Verdict::Alike
        } else {
            Verdict::Unknown
        }
    }

    /// Returns the share after a step down.
    pub(super) fn lowered(&self, share: f64) -> f64 {
        if self.mitigate { (share * STEP_DOWN).max(self.floor) } else { 1.0 }
    }

    /// Returns the share after a step up.
    pub(super) fn raised(share: f64) -> f64 {
        (share * STEP_UP).min(1.0)
    }

    fn exceeds(&self, endpoint: Tally, peers: Tally) -> bool {
        endpoint.errors > 0 && endpoint.error_share() > peers.error_share() + self.min_difference
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategy::Rng;

    fn tally(errors: u64, requests: u64) -> Tally {
        Tally { errors, requests }
    }

    #[test]
    fn a_bad_endpoint_is_found_and_noise_is_not() {
        let detection = AnomalyDetection::new();
        let detect = |endpoint, peers| detection.detect(endpoint, peers, 3);
        assert_eq!(detect(tally(20, 100), tally(2, 200)), Verdict::Worse);
        assert_eq!(detect(tally(2, 10), tally(0, 20)), Verdict::Unknown, "too few requests");
        assert_eq!(detect(tally(3, 100), tally(0, 200)), Verdict::Alike, "a small difference");
        assert_eq!(detect(tally(500, 1000), tally(1000, 2000)), Verdict::Alike, "all fail");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// With the same share of errors everywhere, a thousand intervals raise no alarm; with a
        /// fifth of errors at one endpoint, a window of 100 requests does.
        #[test]
        fn the_test_separates_noise_from_a_fifth_of_errors(
            seed: u64, noise in 0.0_f64..0.3, endpoints in 3_usize..12,
        ) {
            let (detection, mut rng) = (AnomalyDetection::new(), Rng::seeded(seed));
            let mut draw = |share: f64, requests: u64| {
                tally((0..requests).filter(|_| rng.unit() < share).count() as u64, requests)
            };
            for _ in 0..1000 / endpoints {
                let all: Vec<_> = (0..endpoints).map(|_| draw(noise, 100)).collect();
                for (index, &one) in all.iter().enumerate() {
                    let peers = all.iter().enumerate().filter(|&(other, _)| other != index);
                    let peers = peers.map(|(_, &tally)| tally).sum();
                    prop_assert_ne!(detection.detect(one, peers, endpoints), Verdict::Worse);
                }
            }
            let peers = draw(0.005, 300 * (endpoints as u64 - 1));
            prop_assert_eq!(detection.detect(draw(0.2, 300), peers, endpoints), Verdict::Worse);
        }
    }
}
