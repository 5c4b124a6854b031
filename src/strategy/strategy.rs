use std::sync::Arc;

use super::{BuildContext, Built, Candidate, Candidates, PickContext};
use crate::outcome::Meter;

/// Builds a picker from the candidates, at each change of the endpoints, off the path of requests.
///
/// It lives in the driver and may keep state between pickers. A strategy that wraps another
/// partitions or filters the candidates and lets the inner one build pickers over the parts.
#[diagnostic::on_unimplemented(
    note = "pass a strategy such as `P2c::default()`, or implement `Strategy`"
)]
pub trait Strategy {
    /// What chooses for each request; see [`Pick`].
    type Picker;

    /// Builds a picker over `candidates`, together with the candidates that it may pick and notices
    /// for the operator.
    ///
    /// Called with all endpoints at each change of them, and whenever an event registered with
    /// [`BuildContext::rebuild_on`] asks for it. A strategy without rules of its own may pick
    /// all the eligible candidates: `Built::new(picker, candidates.clone())`. A wrapper starts from what
    /// its inner strategy built: `self.inner.build(candidates, context).map(Picker)`.
    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext)
    -> Built<Self::Picker>;

    /// Returns what learns from the attempts at one endpoint, called once for each new endpoint; `None`
    /// if the strategy doesn't learn. A wrapper that doesn't learn either returns the inner strategy's.
    fn meter(&self) -> Option<Arc<dyn Meter>>;
}

/// Chooses a candidate for one request.
///
/// Runs in the balancer's `call`: it must not block, should not allocate, and reads neither clock
/// nor generator but through the context.
#[diagnostic::on_unimplemented(note = "the strategy's picker must accept requests of type `{Req}`")]
pub trait Pick<Req> {
    /// The candidate that gets the request, one of those the picker was built from.
    ///
    /// A good picker chooses one that the context [accepts](PickContext::accepts), if there is one:
    /// endpoints without a free slot or tried before are not. `None` turns the request away: it
    /// waits if there is no candidate with room, and fails as
    /// [`Error::Refused`](crate::Error::Refused) otherwise.
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate>;
}
