//! Fisher's exact test, one-sided: how likely is it that an endpoint has this many of all errors by
//! chance?

use super::window::Tally;

/// Returns the probability that `endpoint` has at least the errors that it has, if an error is as
/// likely there as at its `peers`. Returns 1 if its share of errors is not above theirs.
///
/// The errors of all are distributed over the requests of all at random, so the number of errors at
/// the endpoint is hypergeometric. Unlike a comparison of deviations, the test is exact for few
/// requests, few errors and few peers.
///
/// Source: R. A. Fisher, "On the interpretation of χ² from contingency tables", 1922.
pub(super) fn probability_by_chance(endpoint: Tally, peers: Tally) -> f64 {
    if peers.requests == 0 || endpoint.error_share() <= peers.error_share() {
        return 1.0;
    }
    let (errors, requests) =
        ((endpoint.errors + peers.errors) as f64, (endpoint.requests + peers.requests) as f64);
    let (drawn, mut hits) = (endpoint.requests as f64, endpoint.errors as f64);
    let first = ln_choose(errors, hits) + ln_choose(requests - errors, drawn - hits)
        - ln_choose(requests, drawn);
    let mut term = first.exp();
    let mut sum = 0.0;
    // The endpoint is above the mean, so each term is smaller than the one before.
    while term > sum * NEGLIGIBLE && term > 0.0 {
        sum += term;
        let next = (errors - hits) * (drawn - hits);
        term *= next / ((hits + 1.0) * (requests - errors - drawn + hits + 1.0));
        hits += 1.0;
    }
    sum.min(1.0)
}

/// A term of this part of the sum does not change a decision.
const NEGLIGIBLE: f64 = 1e-6;

fn ln_choose(of: f64, taken: f64) -> f64 {
    ln_factorial(of) - ln_factorial(taken) - ln_factorial(of - taken)
}

/// Returns the logarithm of `n!` by Stirling's series, to within 0.001.
fn ln_factorial(n: f64) -> f64 {
    if n < 2.0 {
        return 0.0;
    }
    let correction = (1.0 / 12.0 - 1.0 / (360.0 * n * n)) / n;
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + correction
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_chance(endpoint: (u64, u64), peers: (u64, u64)) -> f64 {
        let tally = |(errors, requests)| Tally { errors, requests };
        probability_by_chance(tally(endpoint), tally(peers))
    }

    /// The probability of the tail, term by term from products.
    fn exactly((errors, requests): (u64, u64), (peer_errors, peer_requests): (u64, u64)) -> f64 {
        let choose = |of: u64, taken: u64| {
            (0..taken).map(|i| (of - i) as f64 / (i + 1) as f64).product::<f64>()
        };
        let (all, all_errors) = (requests + peer_requests, errors + peer_errors);
        let most = requests.min(all_errors);
        let tail = (errors..=most).filter(|hits| requests - hits <= all - all_errors);
        let ways =
            tail.map(|hits| choose(all_errors, hits) * choose(all - all_errors, requests - hits));
        ways.sum::<f64>() / choose(all, requests)
    }

    #[test]
    fn known_tables() {
        // Fisher's tea: 3 of 4 cups right by chance, at least.
        assert!((by_chance((3, 4), (1, 4)) - 17.0 / 70.0).abs() < 1e-3);
        assert_eq!(by_chance((5, 100), (10, 200)), 1.0, "no difference");
        assert_eq!(by_chance((5, 100), (0, 0)), 1.0, "no peers");
        assert_eq!(by_chance((0, 0), (9, 10)), 1.0, "no requests");
        assert!(by_chance((20, 100), (0, 200)) < 1e-9);
        assert!(by_chance((1, 3), (0, 1000)) > 1e-3);
        assert!(by_chance((1_000_000, 3_000_000), (1_000, 9_000_000)) < 1e-12);
    }

    proptest! {
        #[test]
        fn the_sum_is_the_exact_tail(
            requests in 1_u64..40, errors in 0_u64..40, peers in 1_u64..60, peer_errors in 0_u64..60,
        ) {
            let (endpoint, peers) = ((errors.min(requests), requests), (peer_errors.min(peers), peers));
            let found = by_chance(endpoint, peers);
            prop_assert!((0.0..=1.0).contains(&found));
            if found < 1.0 {
                let expected = exactly(endpoint, peers);
                prop_assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
            }
        }

        #[test]
        fn more_errors_are_less_likely(requests in 1_u64..10_000, errors in 1_u64..9_999, peers in 1_u64..100_000) {
            let errors = errors.min(requests - 1);
            let quiet = (peers / 100, peers);
            prop_assert!(by_chance((errors + 1, requests), quiet) <= by_chance((errors, requests), quiet) * 1.01);
        }
    }
}
