use std::sync::Arc;

use tokio::time::Instant;

use super::Outcome;
use crate::{
    endpoint::{EndpointStats, Tried},
    sync::{Mutex, lock},
};

/// What became of one request so far: which attempt this is, which endpoints have been tried, how
/// the last attempt failed, and when all must be done.
///
/// It travels with the request ([`Carry`](super::Carry)); clones share it, so that retries, hedges
/// and failover agree on what was tried, and the balancer prefers other endpoints. The balancer adds
/// each endpoint that it picks. Behind it is a lock that only attempts of the same request meet at.
///
/// A request without one is on its first attempt. A retry layer makes one when the first attempt has
/// failed, so that requests that succeed pay nothing for it.
#[derive(Clone, Debug)]
pub struct Attempts(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    deadline: Option<Instant>,
    number: u32,
    elsewhere: bool,
    tried: Tried,
    failure: Option<Outcome>,
}

impl Attempts {
    /// A request that is on its first attempt and has all the time in the world.
    #[must_use]
    pub fn new() -> Self {
        Self::until(None)
    }

    /// A request that must be done by then.
    #[must_use]
    pub fn with_deadline(deadline: Instant) -> Self {
        Self::until(Some(deadline))
    }

    fn until(deadline: Option<Instant>) -> Self {
        let (tried, failure) = (Tried::none(), None);
        let state = State { deadline, number: 1, elsewhere: false, tried, failure };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Of another request, which must be done at the same time.
    pub(crate) fn with_the_same_deadline(&self) -> Self {
        Self::until(self.deadline())
    }

    /// When the request must be done, if there is such a time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.state(|state| state.deadline)
    }

    /// The request must be done by then, if it need not be earlier. Gives the earlier.
    pub fn limit_to(&self, deadline: Instant) -> Instant {
        self.state(|state| {
            let earlier = state.deadline.map_or(deadline, |known| known.min(deadline));
            *state.deadline.insert(earlier)
        })
    }

    /// The number of the attempt, 1 for the first.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.state(|state| state.number)
    }

    /// One more attempt begins, best at an endpoint that has not been tried.
    pub fn begin_next(&self) {
        self.begin(false);
    }

    /// One more attempt begins, which is of no use at an endpoint that has been tried: a hedge. If
    /// there is no other, the balancer [refuses](crate::Error::Refused) it.
    pub fn begin_elsewhere(&self) {
        self.begin(true);
    }

    fn begin(&self, elsewhere: bool) {
        self.state(|state| {
            state.number = state.number.saturating_add(1);
            state.elsewhere = elsewhere;
        });
    }

    /// True if the attempt is of no use at an endpoint that has been tried.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.state(|state| state.elsewhere)
    }

    /// The request goes, or went, to the endpoint with these vitals.
    pub fn went_to(&self, stats: &Arc<EndpointStats>) {
        self.state(|state| state.tried.add(stats));
    }

    /// The endpoints that the request has been to.
    #[must_use]
    pub fn tried(&self) -> Tried {
        self.state(|state| state.tried.clone())
    }

    /// An attempt of the request failed.
    pub fn failed(&self, outcome: Outcome) {
        self.state(|state| state.failure = Some(outcome));
    }

    /// How the last attempt failed that is over; `None` if none is.
    #[must_use]
    pub fn last_failure(&self) -> Option<Outcome> {
        self.state(|state| state.failure.clone())
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut lock(&self.0))
    }
}

/// Equal if they are of the same request.
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
