use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Candidate, Candidates, Pick, PickContext, Strategy};
use crate::outcome::Meter;

/// Any strategy for requests of one type, chosen at run time.
///
/// Made of a strategy, or of a [`Config`](super::Config) from a file. A pick costs one indirect call
/// more than that of the strategy itself.
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
    /// Forgets what type of strategy it is.
    pub fn new<St>(strategy: St) -> Self
    where
        St: Strategy<Picker: Pick<Req> + Send + Sync + 'static> + Clone + Send + 'static,
    {
        Self(Box::new(strategy))
    }
}

/// A strategy whose type is forgotten.
trait Erased<Req>: Send {
    fn boxed_picker(&mut self, candidates: &Candidates) -> DynamicPicker<Req>;
    fn duplicate(&self) -> Box<dyn Erased<Req>>;
    fn meter(&self) -> Option<Arc<dyn Meter>>;
    fn eligible(&self, candidates: &Candidates) -> Candidates;
    fn notices(&self) -> Vec<String>;
    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>>;
}

impl<St, Req> Erased<Req> for St
where
    St: Strategy<Picker: Pick<Req> + Send + Sync + 'static> + Clone + Send + 'static,
{
    fn boxed_picker(&mut self, candidates: &Candidates) -> DynamicPicker<Req> {
        DynamicPicker(Box::new(Strategy::picker(self, candidates)))
    }

    fn duplicate(&self) -> Box<dyn Erased<Req>> {
        Box::new(self.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Strategy::meter(self)
    }

    fn eligible(&self, candidates: &Candidates) -> Candidates {
        Strategy::eligible(self, candidates)
    }

    fn notices(&self) -> Vec<String> {
        Strategy::notices(self)
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        Strategy::poll_update(self, cx)
    }
}

impl<Req> Strategy for Dynamic<Req> {
    type Picker = DynamicPicker<Req>;

    fn picker(&mut self, candidates: &Candidates) -> DynamicPicker<Req> {
        self.0.boxed_picker(candidates)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.0.meter()
    }

    fn eligible(&self, candidates: &Candidates) -> Candidates {
        self.0.eligible(candidates)
    }

    fn notices(&self) -> Vec<String> {
        self.0.notices()
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll_update(cx)
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
pub struct DynamicPicker<Req>(Box<dyn Pick<Req> + Send + Sync>);

impl<Req> Pick<Req> for DynamicPicker<Req> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.pick(request, context)
    }
}

impl<Req> fmt::Debug for DynamicPicker<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicPicker").finish_non_exhaustive()
    }
}
