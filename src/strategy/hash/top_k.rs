use std::{ptr, sync::Arc};

use crate::{
    load::Load,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rank, Strategy,
        metered::Metered, sampling::sampler::Contender,
    },
};

/// The least loaded of the few endpoints that rank highest for the request's key.
///
/// A key's requests go to k endpoints instead of one: as if each kept a replica. That gives a hot key
/// k times the room, and lets it get around an endpoint that is slow or fails, for a cache that is
/// filled k times. Of equally loaded endpoints it is the one that ranks higher.
///
/// ```
/// use tower_lb::{load::{FailureAware, Outstanding}, strategy::{Maglev, TopK, stable_hash}};
///
/// let by_path = Maglev::new(|path: &String| Some(stable_hash(path)));
/// let strategy = TopK::new(by_path, 2, FailureAware::new(Outstanding));
/// ```
#[derive(Debug)]
pub struct TopK<S, L> {
    inner: S,
    k: usize,
    load: Metered<L>,
}

/// The most endpoints that are compared.
pub(crate) const MAX_K: usize = 8;

impl<S, L: Load> TopK<S, L> {
    /// Compares the `k` endpoints that rank highest by `load`. `inner` must build pickers that
    /// [`Rank`] their candidates. `k` is 1 to 8; less counts as 1, more as 8.
    pub fn new(inner: S, k: usize, load: L) -> Self {
        Self { inner, k: k.clamp(1, MAX_K), load: Metered::new(load) }
    }
}

impl<S: Clone, L> Clone for TopK<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), k: self.k, load: self.load.clone() }
    }
}

impl<S: Strategy, L: Load> Strategy for TopK<S, L> {
    type Picker = TopKPicker<S::Picker, L>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.inner.build(candidates, context);
        built.map(|inner| TopKPicker { inner, k: self.k, load: self.load.share() })
    }

    /// That of the load; the inner strategy's if the load has none.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter().or_else(|| self.inner.meter())
    }
}

/// The picker of [`TopK`].
#[derive(Debug)]
pub struct TopKPicker<P, L> {
    inner: P,
    k: usize,
    load: Arc<L>,
}

impl<P: Rank<Req>, L: Load, Req> Pick<Req> for TopKPicker<P, L> {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let hash = self.inner.hash(request, context.rng());
        let mut top: [Option<&Candidate>; MAX_K] = [None; MAX_K];
        let mut best: Option<Contender<'_>> = None;
        for place in 0..self.k {
            let next = self.inner.highest(hash, |candidate| {
                let is_new = top[..place].iter().flatten().all(|&top| !ptr::eq(top, candidate));
                is_new && context.accepts(candidate)
            });
            let Some(next) = next else { break };
            top[place] = Some(next);
            let contender = Contender::new(next, &*self.load, context);
            if best.is_none_or(|best| contender.beats(&best)) {
                best = Some(contender);
            }
        }
        match best {
            Some(best) => Some(best.candidate),
            None => self.inner.highest(hash, |candidate| context.has_room(candidate)),
        }
    }
}
