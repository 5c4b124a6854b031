use std::{fmt, sync::Arc};

use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Explainer, Pick, PickContext, Strategy,
    },
};

/// Sets the class of each request for an inner strategy, so that a load can be kept apart for each
/// class ([`PerClass`](crate::load::PerClass)).
///
/// ```
/// use tower_lb::{load::{FailureAware, PeakEwma, PerClass}, strategy::{Classified, P2c}};
///
/// let load = PerClass::new(2, FailureAware::new(PeakEwma::new()))?;
/// let by_path = |request: &&str| u32::from(request.starts_with("/reports/"));
/// let strategy = Classified::new(by_path, P2c::new(load));
/// # Ok::<(), tower_lb::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Classified<St, F> {
    inner: St,
    classify: F,
}

impl<St, F> Classified<St, F> {
    /// Wraps `inner`. `classify` returns the class of a request: a small number, such as that of
    /// its route.
    pub fn new<Req>(classify: F, inner: St) -> Self
    where
        F: Fn(&Req) -> u32,
    {
        Self { inner, classify }
    }
}

impl<St: Strategy, F: Clone> Strategy for Classified<St, F> {
    type Picker = ClassifiedPicker<St::Picker, F>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.inner.build(candidates, context);
        built.map(|inner| ClassifiedPicker { inner, classify: self.classify.clone() })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// The picker of [`Classified`].
#[expect(unnameable_types, reason = "named as <Classified as Strategy>::Picker")]
pub struct ClassifiedPicker<P, F> {
    inner: P,
    classify: F,
}

impl<P, F, Req> Pick<Req> for ClassifiedPicker<P, F>
where
    P: Pick<Req>,
    F: Fn(&Req) -> u32,
{
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        context.set_class((self.classify)(request));
        self.inner.pick(request, context)
    }

    fn explain(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        context.set_class((self.classify)(request));
        explainer.step("classified");
        explainer.say(format!("the request is of class {}", context.class()));
        explainer.inner(&self.inner, request, context)
    }
}

impl<St: fmt::Debug, F> fmt::Debug for Classified<St, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classified").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<P: fmt::Debug, F> fmt::Debug for ClassifiedPicker<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassifiedPicker").field("inner", &self.inner).finish_non_exhaustive()
    }
}
