use std::sync::Arc;

use super::{BuildContext, Built, Candidate, Candidates, Explainer, PickContext};
use crate::outcome::Meter;

/// Builds a picker from the candidates at each change of the endpoints, outside of the request
/// path.
///
/// A strategy lives in the driver and may keep state from one picker to the next. See the
/// [module](super) for an example of a strategy and of a wrapper.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a strategy",
    label = "this type does not implement `Strategy`",
    note = "pass a strategy such as `P2c::default()`, or implement `Strategy`",
    note = "in a type, name the strategy and not its picker: `Balancer<Client, P2c>`"
)]
pub trait Strategy {
    /// The type that selects a candidate for each request; see [`Pick`].
    type Picker;

    /// Builds a picker over `candidates`, together with the candidates that it may pick and notices
    /// for the operator.
    ///
    /// The driver calls it with all endpoints at each change of the endpoints, and whenever an
    /// event registered with [`BuildContext::rebuild_on`] requests it.
    ///
    /// A strategy that may pick every eligible candidate returns
    /// `Built::new(picker, candidates.clone())`. A wrapper returns what its inner strategy built:
    /// `self.inner.build(candidates, context).map(Picker)`.
    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext)
    -> Built<Self::Picker>;

    /// Returns a meter that learns from the attempts at one endpoint, or `None` if the strategy
    /// does not learn.
    ///
    /// The driver calls it once for each new endpoint. A wrapper that does not learn returns the
    /// meter of its inner strategy.
    fn meter(&self) -> Option<Arc<dyn Meter>>;
}

/// Selects a candidate for one request.
///
/// A pick runs inside the balancer's `call`. It must not block, should not allocate, and takes time
/// and random numbers only from the context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not select endpoints for requests of type `{Req}`",
    label = "the strategy's picker does not accept these requests",
    note = "if the strategy hashes by a key, its key must be a function `Fn(&{Req}) -> Option<u64>`",
    note = "if the strategy is your own, implement `Pick<{Req}>` for its picker"
)]
pub trait Pick<Req> {
    /// Returns the candidate that gets the request, one of those that the picker was built from.
    ///
    /// A picker returns a candidate that the context [accepts](PickContext::accepts) if there is
    /// one: a candidate that has a free slot and that the request has not tried. If none is
    /// accepted, it returns one that has [room](PickContext::has_room): to have been tried is no
    /// reason to fail.
    ///
    /// `None` rejects the request. The request waits if no candidate has a free slot, and fails
    /// with [`Error::Refused`](crate::Error::Refused) otherwise.
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate>;

    /// Picks as [`pick`](Self::pick) does, and tells `explainer` why.
    ///
    /// It must return what `pick` would return in the same context. If it
    /// [is a dry run](Explainer::is_dry_run), it must change nothing that a later pick reads.
    ///
    /// The default calls `pick`, which has its usual effects even in a dry run. The explanation
    /// then contains the name of the picker's type and the choice, without the inner strategies
    /// of a wrapper. A wrapper implements this method with [`Explainer::step`] and
    /// [`Explainer::inner`].
    fn explain(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        explainer.step(short_type_name::<Self>());
        explainer.say("does not explain its picks");
        self.pick(request, context)
    }
}

/// Returns the name of a type without its path and its parameters.
fn short_type_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}
