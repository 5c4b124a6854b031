use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
    metered::Metered,
    sampling::sampler::{Contender, Sampler},
};
use crate::{
    load::{FailureAware, Load, Outstanding, PeakEwma},
    outcome::Meter,
};

/// Power of two choices: draws two endpoints and takes the less loaded.
///
/// Nearly as good as looking at all endpoints, at a cost that doesn't grow with their number, and
/// without the herding that follows when everybody goes for the one best endpoint. The default
/// load is requests in flight, failures charged.
///
/// The two are distinct, and drawn in proportion to their weights. Weights are shares under equal
/// latency: an endpoint gets its share unless its load says otherwise.
///
/// Source: Mitzenmacher (1996); two distinct samples as in Finagle. Where we differ: weights hold.
/// Envoy switches to another algorithm when they differ; dividing the load by the weight (Apache
/// brpc, poise) gives 66.7/16.7/16.5 % for weights 198:1:1.
#[derive(Debug)]
pub struct P2c<L = FailureAware<Outstanding>> {
    load: Metered<L>,
}

impl<L: Load> P2c<L> {
    /// Compares endpoints by `load`. A load that is not [`FailureAware`] takes an endpoint that
    /// fails fast for an idle one.
    pub fn new(load: L) -> Self {
        Self { load: Metered::new(load) }
    }
}

impl P2c<FailureAware<PeakEwma>> {
    /// Compares endpoints by latency and requests in flight, failures charged.
    #[must_use]
    pub fn peak_ewma() -> Self {
        Self::new(FailureAware::new(PeakEwma::new()))
    }
}

impl Default for P2c {
    fn default() -> Self {
        Self::new(FailureAware::default())
    }
}

impl<L> Clone for P2c<L> {
    fn clone(&self) -> Self {
        Self { load: self.load.clone() }
    }
}

impl<L: Load> Strategy for P2c<L> {
    type Picker = P2cPicker<L>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let picker = P2cPicker {
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            load: self.load.share(),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter()
    }
}

/// The picker of [`P2c`].
#[derive(Debug)]
pub struct P2cPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    load: Arc<L>,
}

/// Draws of two before every candidate is looked at for one that is accepted.
const DRAWS: usize = 3;

impl<L: Load> P2cPicker<L> {
    #[inline]
    fn draw_two(&self, context: &mut PickContext<'_>) -> Option<[&Candidate; 2]> {
        let [first, second] = self.sampler.draw_two(self.candidates.len(), context.rng());
        Some([self.candidates.get(first)?, self.candidates.get(second)?])
    }

    #[inline]
    fn better<'a>(
        &self,
        [first, second]: [&'a Candidate; 2],
        context: &mut PickContext<'_>,
    ) -> &'a Candidate {
        let incumbent = Contender::new(first, &*self.load, context);
        let challenger = Contender::new(second, &*self.load, context);
        if challenger.beats(&incumbent) {
            branch();
            return second;
        }
        first
    }

    /// Some candidates have no room or were tried.
    #[cold]
    fn pick_accepted(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        for _ in 0..DRAWS {
            let two = self.draw_two(context)?;
            match two.map(|candidate| context.accepts(candidate)) {
                [true, true] => return Some(self.better(two, context)),
                [true, false] => return Some(two[0]),
                [false, true] => return Some(two[1]),
                [false, false] => {}
            }
        }
        self.candidates.fallback(context)
    }
}

/// Keeps the choice a branch: what follows may then start on a guess before the loads of both have
/// been read. As a conditional move, which compilers make of it, it took a quarter of a request's time.
#[cold]
#[inline(never)]
fn branch() {}

impl<L: Load, Req> Pick<Req> for P2cPicker<L> {
    #[inline]
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        if self.candidates.len() < 2 {
            return self.candidates.get(0);
        }
        if !context.accepts_all() {
            return self.pick_accepted(context);
        }
        let two = self.draw_two(context)?;
        Some(self.better(two, context))
    }
}
