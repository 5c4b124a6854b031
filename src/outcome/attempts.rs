use std::sync::Arc;

use tokio::time::Instant;

use super::Outcome;
use crate::{
    endpoint::{EndpointStats, Tried},
    sync::{Mutex, lock},
};

/// The attempts of one request so far: their number, the endpoints tried, the last failure, and the
/// deadline of them all.
///
/// It travels with the request ([`Carry`](super::Carry)). Clones share it, so that retries, hedges
/// and failover agree on what was tried, and the balancer prefers other endpoints. The balancer
/// adds each endpoint that it picks. The lock inside is contended only by attempts of the same
/// request.
///
/// A request without it is on its first attempt. A retry layer creates it when the first attempt
/// has failed, so that requests that succeed pay nothing for it.
#[derive(Clone, Debug)]
pub struct Attempts(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    deadline: Option<Instant>,
    number: u32,
    elsewhere: bool,
    tried: Tried,
    /// When the last endpoint was picked, there was no other that had not been tried.
    exhausted: bool,
    failure: Option<Outcome>,
}

impl Attempts {
    /// Creates the state of a request that is on its first attempt and has no deadline.
    #[must_use]
    pub fn new() -> Self {
        Self::until(None)
    }

    /// Creates the state of a request that must be done by `deadline`.
    #[must_use]
    pub fn with_deadline(deadline: Instant) -> Self {
        Self::until(Some(deadline))
    }

    fn until(deadline: Option<Instant>) -> Self {
        let (tried, failure) = (Tried::none(), None);
        let state =
            State { deadline, number: 1, elsewhere: false, tried, exhausted: false, failure };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Creates the state of another request with the same deadline.
    pub(crate) fn with_same_deadline(&self) -> Self {
        Self::until(self.deadline())
    }

    /// Returns the time by which the request must be done, if there is a deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.state(|state| state.deadline)
    }

    /// Sets the deadline unless there is an earlier one. Returns the one that holds.
    pub fn limit_to(&self, deadline: Instant) -> Instant {
        self.state(|state| {
            let earlier = state.deadline.map_or(deadline, |known| known.min(deadline));
            *state.deadline.insert(earlier)
        })
    }

    /// Returns the number of the current attempt, 1 for the first.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.state(|state| state.number)
    }

    /// Begins one more attempt, which prefers an endpoint that has not been tried.
    pub fn begin_next(&self) {
        self.begin(false);
    }

    /// Begins one more attempt, which must not go to an endpoint that has been tried: a hedge. If
    /// there is no other endpoint, the balancer [refuses](crate::Error::Refused) it.
    pub fn begin_elsewhere(&self) {
        self.begin(true);
    }

    fn begin(&self, elsewhere: bool) {
        self.state(|state| {
            state.number = state.number.saturating_add(1);
            state.elsewhere = elsewhere;
        });
    }

    /// Returns true if the attempt must not go to an endpoint that has been tried.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.state(|state| state.elsewhere)
    }

    /// Records that the request goes, or went, to the endpoint with these stats.
    pub fn went_to(&self, stats: &Arc<EndpointStats>) {
        self.state(|state| state.tried.add(stats));
    }

    /// Records the endpoint as [`went_to`](Self::went_to) does, and whether there was no other that
    /// had not been tried.
    pub(crate) fn picked(&self, stats: &Arc<EndpointStats>, is_last_choice: bool) {
        self.state(|state| {
            state.tried.add(stats);
            state.exhausted = is_last_choice;
        });
    }

    /// Returns true if no other endpoint was left when the last one was picked.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.state(|state| state.exhausted)
    }

    /// Returns the endpoints that the request has been sent to.
    #[must_use]
    pub fn tried(&self) -> Tried {
        self.state(|state| state.tried.clone())
    }

    /// Records that an attempt of the request failed.
    pub fn failed(&self, outcome: Outcome) {
        self.state(|state| state.failure = Some(outcome));
    }

    /// Returns the outcome of the last failed attempt; `None` if no attempt has failed.
    #[must_use]
    pub fn last_failure(&self) -> Option<Outcome> {
        self.state(|state| state.failure.clone())
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.0))
    }
}

/// Compares identity: the attempts of the same request are equal.
impl PartialEq for Attempts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Attempts {}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pick_says_whether_another_endpoint_is_left() {
        let (attempts, stats) = (Attempts::new(), Arc::new(EndpointStats::new()));
        assert!(!attempts.is_exhausted());
        attempts.picked(&stats, true);
        assert!(attempts.is_exhausted());
        // A fallback of several endpoints, after a primary of one.
        attempts.picked(&stats, false);
        assert!(!attempts.is_exhausted());
    }
}
