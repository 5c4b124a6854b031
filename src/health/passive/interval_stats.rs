use std::time::Duration;

use crate::{endpoint::OutcomeCounts, health::stage::members::Id};

/// What one endpoint did in an interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntervalStats {
    pub(crate) id: Id,
    pub(crate) outcomes: OutcomeCounts,
    /// The number of successes whose latency was measured.
    pub(crate) measured: u32,
    /// The median latency of those.
    pub(crate) latency: Duration,
}

impl IntervalStats {
    /// Returns the number of requests that succeeded or failed. Overloads and cancellations say
    /// nothing about the health of the endpoint.
    pub(crate) fn decided(&self) -> u64 {
        self.outcomes.success + self.failed()
    }

    fn failed(&self) -> u64 {
        let OutcomeCounts { application, transport, timeout, .. } = self.outcomes;
        application + transport + timeout
    }

    /// Returns the share of decided requests that succeeded.
    pub(crate) fn success_rate(&self) -> f64 {
        self.outcomes.success as f64 / self.decided().max(1) as f64
    }
}

/// Returns the median, the lower one of two.
pub(crate) fn median<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable(middle).1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::health::{FailureShare, LatencyOutliers, SuccessRate};

    fn fleet(of: &[(u64, u64)]) -> Vec<IntervalStats> {
        let stats = |(id, &(success, application))| {
            let outcomes = OutcomeCounts { success, application, ..OutcomeCounts::default() };
            IntervalStats { id, outcomes, measured: 0, latency: Duration::ZERO }
        };
        (0..).zip(of).map(stats).collect()
    }

    fn slow(of: &[(u32, u64)]) -> Vec<IntervalStats> {
        let stats = |(id, &(measured, millis))| {
            let (outcomes, latency) = (OutcomeCounts::default(), Duration::from_millis(millis));
            IntervalStats { id, outcomes, measured, latency }
        };
        (0..).zip(of).map(stats).collect()
    }

    fn found(find: impl FnOnce(&mut dyn FnMut(&IntervalStats, String))) -> Vec<Id> {
        let mut found = Vec::new();
        find(&mut |endpoint, _| found.push(endpoint.id));
        found
    }

    #[test]
    fn a_success_rate_far_below_the_mean_is_an_outlier() {
        let rule = SuccessRate::default();
        let find = |of: &[(u64, u64)]| found(|eject| rule.find(&fleet(of), eject));
        let good = (990, 10);
        assert_eq!(find(&[good, good, good, good, (700, 300)]), [4]);
        assert_eq!(find(&[good, good, good, (700, 300)]), [0_u64; 0], "too few endpoints");
        assert_eq!(find(&[good, good, good, good, (50, 40)]), [0_u64; 0], "too few requests");
        // Envoy's rule would eject it: it is the only one with failures.
        assert_eq!(find(&[(1000, 0), (1000, 0), (1000, 0), (1000, 0), (999, 1)]), [0_u64; 0]);
        assert_eq!(find(&[(0, 100); 6]), [0_u64; 0], "all endpoints fail alike");
        assert_eq!(find(&[]), [0_u64; 0]);
    }

    #[test]
    fn the_worst_come_first() {
        let rule = FailureShare::default();
        let find = |of: &[(u64, u64)]| found(|eject| rule.find(&fleet(of), eject));
        assert_eq!(find(&[(50, 50), (10, 90), (51, 49), (0, 19), (20, 80)]), [1, 4, 0]);
    }

    #[test]
    fn latency_far_off_that_of_the_peers_is_an_outlier() {
        let rule = LatencyOutliers::default();
        let find = |of: &[(u32, u64)]| found(|eject| rule.find(&slow(of), eject));
        assert_eq!(find(&[(50, 20), (50, 25), (50, 90)]), [2]);
        assert_eq!(find(&[(50, 20), (50, 25), (50, 60)]), [0_u64; 0], "less than threefold");
        assert_eq!(find(&[(50, 1), (50, 1), (50, 9)]), [0_u64; 0], "the difference is small");
        assert_eq!(find(&[(50, 20), (50, 90)]), [0_u64; 0], "too few endpoints");
        assert_eq!(find(&[(50, 20), (50, 20), (9, 900)]), [0_u64; 0], "too few requests");
        // Where many endpoints are slow, none is an outlier.
        let mixed = [(50, 20), (50, 30), (50, 40), (50, 150), (50, 150), (50, 160), (50, 170)];
        assert_eq!(find(&mixed), [0_u64; 0]);
    }

    #[test]
    fn medians() {
        assert_eq!(median::<u8>(&mut []), None);
        assert_eq!(median(&mut [3, 1]), Some(1));
        assert_eq!(median(&mut [9, 1, 5]), Some(5));
    }
}
