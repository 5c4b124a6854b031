use std::{ptr, sync::Arc};

use crate::{
    ConfigError,
    load::Load,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rank, Strategy,
        explain::{Observe, observed_pick},
        metered::Metered,
        sampling::sampler::Contender,
    },
};

/// Picks the least loaded of the few endpoints that rank highest for the request's key.
///
/// A key's requests go to `k` endpoints instead of one, as if each kept a replica. A hot key gets
/// `k` times the room and can avoid an endpoint that is slow or fails; in return, caches are filled
/// `k` times. Of equally loaded endpoints, the one that ranks higher gets the request.
///
/// ```
/// use tower_lb::{load::{FailureAware, Outstanding}, strategy::{Maglev, TopK, stable_hash}};
///
/// # fn main() -> Result<(), tower_lb::ConfigError> {
/// let by_path = Maglev::new(|path: &String| Some(stable_hash(path)));
/// let strategy = TopK::new(by_path, 2, FailureAware::new(Outstanding))?;
/// # let _ = strategy; Ok(()) }
/// ```
#[derive(Debug)]
pub struct TopK<S, L> {
    inner: S,
    k: usize,
    load: Metered<L>,
}

/// The most endpoints that are compared; a pick keeps them on the stack.
pub(crate) const MAX_K: usize = 8;

impl<S, L: Load> TopK<S, L> {
    /// Compares the `k` endpoints that rank highest by `load`. The pickers of `inner` must [`Rank`]
    /// their candidates.
    ///
    /// # Errors
    ///
    /// If `k` is not from 1 to 8.
    pub fn new(inner: S, k: usize, load: L) -> Result<Self, ConfigError> {
        ConfigError::unless((1..=MAX_K).contains(&k), "k", k, "a number from 1 to 8")?;
        Ok(Self { inner, k, load: Metered::new(load) })
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

    /// Returns the load's meter, or the inner strategy's if the load has none.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter().or_else(|| self.inner.meter())
    }
}

/// The picker of [`TopK`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <TopK<S, L> as Strategy>::Picker")]
pub struct TopKPicker<P, L> {
    inner: P,
    k: usize,
    load: Arc<L>,
}

impl<P, L: Load> TopKPicker<P, L> {
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Rank<Req>,
    {
        observer.step("top k");
        observer.say(|| format!("compares the {} that rank highest for the key", self.k));
        let hash = self.inner.hash(request, context.rng());
        let mut top: [Option<&Candidate>; MAX_K] = [None; MAX_K];
        let mut best: Option<Contender<'_>> = None;
        for rank in 0..self.k {
            let next = self.inner.highest(hash, |candidate| {
                let is_new = top[..rank].iter().flatten().all(|&top| !ptr::eq(top, candidate));
                is_new && context.accepts(candidate)
            });
            let Some(next) = next else { break };
            top[rank] = Some(next);
            let contender = Contender::new(next, &*self.load, context);
            observer.compare(next, || contender.load());
            observer.note(next, || format!("rank {} of the key", rank + 1));
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

impl<P: Rank<Req>, L: Load, Req> Pick<Req> for TopKPicker<P, L> {
    observed_pick!(Req);
}
