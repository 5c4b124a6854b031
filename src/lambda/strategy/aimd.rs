use std::sync::Arc;

use super::aimd_limit::AimdLimit;
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Finds out how many requests at once each endpoint takes, by additive increase and multiplicative
/// decrease: a function that throttles is approached, not hammered.
///
/// The limit begins low and grows by 1 with each success, until the endpoint says that it has too
/// much (an [`Overload`](crate::outcome::Outcome::Overload), as throttles are). Then it falls to 80 %
/// of what was in flight, and grows by about 1 per round trip from there on, while it is made use of.
///
/// The inner strategy picks. If that endpoint is at its limit, the inner strategy picks again, and
/// endpoints at their limits count as full. If it finds no other, the request is rejected as
/// [`Error::Refused`](crate::Error::Refused), which costs less than being throttled, even if it could
/// wait for a full endpoint: nothing tells a request that waits when a limit has grown. Inside of
/// [`Tiers`](crate::strategy::Tiers), what is too much for one tier goes to the next.
///
/// Source: TCP's congestion control (Jacobson, 1988). Where we differ: a round trip is counted in
/// requests, not time, so that a burst of throttles lowers the limit once.
#[derive(Clone, Debug)]
pub struct Aimd<St> {
    inner: St,
    initial: u32,
    max: u32,
}

impl<St> Aimd<St> {
    /// Limits the endpoints that `inner` picks: 10 at first, 1000 at the most.
    pub fn new(inner: St) -> Self {
        Self { inner, initial: 10, max: 1000 }
    }

    /// Sets the limit of a new endpoint. Default 10; 0 counts as 1, and more than [`max`](Self::max) as
    /// that.
    #[must_use]
    pub fn initial(mut self, requests: u32) -> Self {
        self.initial = requests;
        self
    }

    /// Sets the highest limit, for all that is known beforehand. Default 1000; 0 counts as 1.
    #[must_use]
    pub fn max(mut self, requests: u32) -> Self {
        self.max = requests;
        self
    }
}

impl<St: Strategy> Strategy for Aimd<St> {
    type Picker = AimdPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        self.inner.build(candidates, context).map(|inner| AimdPicker { inner })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(AimdLimit::new(self.initial, self.max, self.inner.meter())))
    }
}

/// The picker of [`Aimd`].
#[derive(Debug)]
pub struct AimdPicker<P> {
    inner: P,
}

fn is_below_limit(candidate: &Candidate) -> bool {
    candidate
        .meter::<AimdLimit>()
        .is_none_or(|concurrency| candidate.stats().outstanding() < concurrency.limit())
}

impl<P: Pick<Req>, Req> Pick<Req> for AimdPicker<P> {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let picked = self.inner.pick(request, context)?;
        if is_below_limit(picked) {
            return Some(picked);
        }
        // The inner strategy knows which others the request may go to.
        let other = context.with_limit(is_below_limit, |context| {
            let other = self.inner.pick(request, context);
            other.filter(|other| context.has_room(other))
        });
        if other.is_none() && context.has_room(picked) {
            context.set_refused();
        }
        other
    }
}
