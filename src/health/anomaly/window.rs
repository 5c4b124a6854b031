use std::{collections::VecDeque, iter::Sum, ops::Add};

use crate::endpoint::OutcomeCounts;

/// Requests that ended, and those of them that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) errors: u64,
    pub(super) requests: u64,
}

impl Tally {
    /// Counts all failures. Requests that the caller gave up do not count.
    pub(super) fn of(outcomes: &OutcomeCounts) -> Self {
        let errors = outcomes.failures();
        Self { errors, requests: outcomes.success + errors }
    }

    /// Returns the share of requests that failed; 0 without requests.
    pub(super) fn error_share(self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { errors: self.errors + other.errors, requests: self.requests + other.requests }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), Add::add)
    }
}

/// The tallies of the latest intervals.
#[derive(Clone, Debug, Default)]
pub(super) struct Window(VecDeque<Tally>);

impl Window {
    /// Adds an interval and forgets all but the latest `intervals`.
    pub(super) fn push(&mut self, tally: Tally, intervals: usize) {
        self.0.push_back(tally);
        while self.0.len() > intervals {
            self.0.pop_front();
        }
    }

    pub(super) fn total(&self) -> Tally {
        self.0.iter().copied().sum()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
