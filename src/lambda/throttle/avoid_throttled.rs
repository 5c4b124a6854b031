use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use futures::stream::{Stream, poll_fn};
use tokio::time::{Sleep, sleep_until};

use super::{
    pauses::Domain,
    throttles::{Memory, Paused},
};
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Strategy},
};

/// Lets another strategy pick among the endpoints that are not throttled; created by
/// [`Throttles::avoid_throttled`](crate::lambda::Throttles::avoid_throttled).
///
/// The work happens in the driver: a pick costs no more than the inner strategy's.
///
/// Endpoints that are left out count as missing in strategies that count endpoints, such as
/// [`Tiers`](crate::strategy::Tiers). A [`Panic`](crate::strategy::Panic) inside may select them
/// again; it belongs around this strategy instead.
#[derive(Clone, Debug)]
pub struct AvoidThrottled<St> {
    pub(super) inner: St,
    pub(super) memory: Arc<Memory>,
}

impl Memory {
    /// Returns a stream that yields once the pauses differ from `paused`.
    fn changes(self: &Arc<Self>, paused: &Paused) -> impl Stream<Item = ()> + Send + use<> {
        let (memory, registration) = (Arc::clone(self), self.registration());
        let (seen, next_end) = (paused.version, paused.next_end);
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |cx| {
            // Before the check: a pause that starts in between must wake this task.
            registration.register(cx.waker());
            if memory.version() != seen {
                return Poll::Ready(Some(()));
            }
            let Some(end) = next_end else { return Poll::Pending };
            // Created here, since a picker may be built outside of a runtime.
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(timer.as_mut().poll(cx));
            Poll::Ready(Some(()))
        })
    }
}

impl<St: Strategy> Strategy for AvoidThrottled<St> {
    type Picker = St::Picker;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
        let paused = self.memory.paused();
        context.rebuild_on(self.memory.changes(&paused));
        let (regions, functions): (Vec<_>, Vec<_>) =
            paused.domains.into_iter().partition(Domain::is_region);
        let notice = |domain| format!("left out because of throttles: {domain}");
        let notices: Vec<_> = regions.iter().chain(&functions).map(notice).collect();
        let left = without(&functions, without(&regions, candidates.clone()));
        self.inner.build(&left, context).with_notices(notices)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// Returns the candidates outside of the domains. Returns all if the balancer would have none left.
fn without(domains: &[Domain], candidates: Candidates) -> Candidates {
    if domains.is_empty() {
        return candidates;
    }
    let is_out = |candidate: &Candidate| {
        let function = Domain::of_function(candidate.name(), candidate);
        domains.iter().any(|domain| domain.contains(&function))
    };
    let left = candidates.filter(|candidate| !is_out(candidate));
    // These may be a part, such as one tier: then the other candidates can serve, and none is kept.
    let is_left = |candidate: &Candidate| candidate.is_eligible() && !is_out(candidate);
    if left.is_empty() && !candidates.anywhere().any(is_left) { candidates } else { left }
}
