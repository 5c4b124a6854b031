use std::{fmt, sync::Arc};

use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Explainer, Pick, PickContext, Strategy,
    },
};

/// A strategy for requests of one type that is chosen at run time.
///
/// It is made from any strategy, or from a [`Config`](crate::strategy::Config) in a file. A pick
/// costs one more indirect call than a pick of the strategy itself.
///
/// ```
/// use tower_lb::strategy::{Dynamic, LeastLoaded, P2c};
///
/// fn strategy(few: bool) -> Dynamic<&'static str> {
///     if few { Dynamic::new(LeastLoaded::default()) } else { Dynamic::new(P2c::default()) }
/// }
/// # strategy(true);
/// ```
pub struct Dynamic<Req>(Box<dyn Erased<Req>>);

impl<Req: 'static> Dynamic<Req> {
    /// Erases the type of `strategy`.
    pub fn new<St>(strategy: St) -> Self
    where
        St: Strategy<Picker: Pick<Req> + Send + Sync + 'static> + Clone + Send + 'static,
    {
        Self(Box::new(strategy))
    }
}

/// A strategy as a trait object.
trait Erased<Req>: Send {
    fn build_boxed(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<DynamicPicker<Req>>;
    fn duplicate(&self) -> Box<dyn Erased<Req>>;
    fn meter(&self) -> Option<Arc<dyn Meter>>;
}

impl<St, Req> Erased<Req> for St
where
    St: Strategy<Picker: Pick<Req> + Send + Sync + 'static> + Clone + Send + 'static,
{
    fn build_boxed(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<DynamicPicker<Req>> {
        self.build(candidates, context).map(|picker| DynamicPicker(Box::new(picker)))
    }

    fn duplicate(&self) -> Box<dyn Erased<Req>> {
        Box::new(self.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Strategy::meter(self)
    }
}

impl<Req> Strategy for Dynamic<Req> {
    type Picker = DynamicPicker<Req>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<DynamicPicker<Req>> {
        self.0.build_boxed(candidates, context)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }
}

impl<Req> Clone for Dynamic<Req> {
    fn clone(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl<Req> fmt::Debug for Dynamic<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamic").finish_non_exhaustive()
    }
}

/// The picker of [`Dynamic`].
#[expect(unnameable_types, reason = "named as <Dynamic as Strategy>::Picker")]
pub struct DynamicPicker<Req>(Box<dyn Pick<Req> + Send + Sync>);

impl<Req> Pick<Req> for DynamicPicker<Req> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.pick(request, context)
    }

    fn explain(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        explainer.pass();
        self.0.explain(request, context, explainer)
    }
}

impl<Req> fmt::Debug for DynamicPicker<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicPicker").finish_non_exhaustive()
    }
}
