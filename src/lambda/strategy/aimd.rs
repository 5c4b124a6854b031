use std::sync::Arc;

use super::aimd_limit::AimdLimit;
use crate::{
    ConfigError,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Limits the concurrency of each endpoint, by additive increase and multiplicative decrease: it
/// approaches the limit of a function that throttles.
///
/// The limit starts low and grows by 1 with each success, until the endpoint reports
/// [`Overload`](crate::outcome::Outcome::Overload), as throttles do. Then it falls to 80 % of the
/// requests in flight, and from there grows by about 1 per round trip, while at least half of it is
/// in use.
///
/// The inner strategy picks. If the endpoint that it picks is at its limit, it picks again, with
/// endpoints at their limits counted as full. If it finds no other, the request is rejected as
/// [`Error::Refused`](crate::Error::Refused), which costs less than a throttled invocation. The
/// request is rejected even if it could wait for a full endpoint: nothing wakes a waiting request
/// when a limit grows. Within [`Tiers`](crate::strategy::Tiers), requests over the limits of one
/// tier go to the next.
///
/// Source: TCP's congestion control (Jacobson, 1988). Where this differs: a round trip is counted
/// in requests, not time, so that a burst of throttles lowers the limit once.
#[derive(Clone, Debug)]
pub struct Aimd<St> {
    inner: St,
    initial: u32,
    max: u32,
}

impl<St> Aimd<St> {
    /// Limits the endpoints that `inner` picks. Limits start at 10 and reach 1000 at most.
    pub fn new(inner: St) -> Self {
        Self { inner, initial: 10, max: 1000 }
    }

    /// Sets the limit of a new endpoint, at most [`max`](Self::max). Default 10.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `requests` is 0.
    pub fn initial(mut self, requests: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("initial", requests.into())?;
        self.initial = requests;
        Ok(self)
    }

    /// Sets the highest limit, such as a known quota. Default 1000.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `requests` is 0.
    pub fn max(mut self, requests: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("max", requests.into())?;
        self.max = requests;
        Ok(self)
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
#[expect(unnameable_types, reason = "named as <Aimd as Strategy>::Picker")]
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
        // Pick again by the inner strategy: it knows which endpoints the request may go to.
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
