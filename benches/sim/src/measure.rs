//! The measurements of a run.

use std::ops::Range;

use crate::clock::{Nanos, SECOND};

/// The results of the requests of a run after its warm-up.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Latencies of successes and of timed-out requests, in seconds. Sorted when the run is over.
    pub latencies: Vec<f32>,
    pub requests: u64,
    pub errors: u64,
    pub tries: u64,
    pub probes: u64,
    /// Attempts at each server, from the start of the run.
    pub at_server: Vec<u64>,
    /// The latencies by the second of the run in which the requests arrived.
    pub by_second: Vec<Vec<f32>>,
    /// Arrivals, successes and attempts in each second of the run.
    pub seconds: Vec<Second>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    pub arrived: u32,
    pub succeeded: u32,
    pub tries: u32,
}

impl Measured {
    /// Records the latency of a request that arrived at `arrived`.
    pub(crate) fn latency(&mut self, arrived: Nanos, latency: Nanos) {
        let seconds = (latency as f64 / SECOND) as f32;
        self.latencies.push(seconds);
        let second = (arrived as f64 / SECOND) as usize;
        if self.by_second.len() <= second {
            self.by_second.resize_with(second + 1, Vec::new);
        }
        self.by_second[second].push(seconds);
    }

    /// Returns the quantile of the requests that arrived in `seconds` of the run.
    #[must_use]
    pub fn quantile_in(&self, seconds: Range<usize>, share: f64) -> f64 {
        let some = self.by_second.get(seconds).unwrap_or_default();
        let mut latencies: Vec<_> = some.iter().flatten().copied().collect();
        latencies.sort_unstable_by(f32::total_cmp);
        Self { latencies, ..Self::default() }.quantile(share)
    }

    /// Returns the part of its share by weight that each server got; 1 is the whole share.
    #[must_use]
    pub fn shares(&self, weights: &[u32]) -> Vec<f64> {
        let total: u64 = self.at_server.iter().sum();
        let all: f64 = weights.iter().copied().map(f64::from).sum();
        let shares = self.at_server.iter().zip(weights);
        shares
            .map(|(&tries, &weight)| tries as f64 / total as f64 * all / f64::from(weight))
            .collect()
    }

    /// Returns the latency in seconds that `share` of the requests do not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(last)).copied().map_or(0.0, f64::from)
    }

    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.latencies.iter().copied().map(f64::from).sum();
        sum / self.latencies.len().max(1) as f64
    }

    /// Returns the share of all requests that failed.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }

    #[must_use]
    pub fn probes_per_request(&self) -> f64 {
        self.probes as f64 / self.requests.max(1) as f64
    }

    #[must_use]
    pub fn tries_per_request(&self) -> f64 {
        self.tries as f64 / self.requests.max(1) as f64
    }

    /// Returns the share of all requests that succeeded within `seconds`.
    #[must_use]
    pub fn within(&self, seconds: f32) -> f64 {
        let count = self.latencies.partition_point(|&latency| latency <= seconds);
        count as f64 / self.requests.max(1) as f64
    }

    /// Returns the successes per request in `seconds` of the run.
    #[must_use]
    pub fn goodput(&self, seconds: Range<usize>) -> f64 {
        let some = self.seconds.get(seconds).unwrap_or_default();
        let sum =
            |of: fn(&Second) -> u32| some.iter().map(|second| f64::from(of(second))).sum::<f64>();
        sum(|second| second.succeeded) / sum(|second| second.arrived).max(1.0)
    }

    /// Returns the seconds from `after` to the first three consecutive seconds in which more than
    /// 99 % of the requests succeed.
    #[must_use]
    pub fn recovery(&self, after: usize) -> Option<usize> {
        let end = self.seconds.len().saturating_sub(3);
        (after..end)
            .find(|&at| (at..at + 3).all(|at| self.goodput(at..at + 1) > 0.99))
            .map(|at| at - after)
    }
}
