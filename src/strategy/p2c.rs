use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
    explain::{Brief, Observe, observed_pick},
    metered::Metered,
    sampling::sampler::{Contender, Sampler},
};
use crate::{
    load::{FailureAware, Load, Outstanding, PeakEwma},
    outcome::Meter,
};

/// Power of two choices: draws two endpoints and selects the less loaded one.
///
/// It is nearly as good as comparing all endpoints, its cost does not grow with their number, and
/// clients do not herd to the one best endpoint. The default load is the number of requests in
/// flight, with recent failures added.
///
/// The two endpoints are distinct and drawn in proportion to their weights. Under equal latency,
/// each endpoint gets the share of its weight.
///
/// Source: Mitzenmacher (1996); two distinct samples as in Finagle. Where this differs: weights
/// hold. Envoy switches to another algorithm when they differ; dividing the load by the weight
/// (Apache brpc, poise) gives 66.7/16.7/16.5 % for weights 198:1:1.
#[derive(Debug)]
pub struct P2c<L = FailureAware<Outstanding>> {
    load: Metered<L>,
}

impl<L: Load> P2c<L> {
    /// Compares endpoints by `load`.
    ///
    /// Wrap the load in [`FailureAware`]: otherwise an endpoint that fails fast looks idle.
    pub fn new(load: L) -> Self {
        Self { load: Metered::new(load) }
    }
}

impl P2c<FailureAware<PeakEwma>> {
    /// Compares endpoints by latency and requests in flight, with recent failures added.
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
#[expect(unnameable_types, reason = "named as <P2c as Strategy>::Picker")]
#[derive(Debug)]
pub struct P2cPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    load: Arc<L>,
}

/// The number of draws of two before all candidates are searched for an accepted one.
const MAX_DRAWS: usize = 3;

impl<L: Load> P2cPicker<L> {
    // What a pick without limits runs is always inlined, so that its context and the two candidates
    // stay in registers: two calls through memory cost as much as the draw.
    #[inline(always)]
    fn draw_two(&self, context: &mut PickContext<'_>) -> Option<[&Candidate; 2]> {
        let [first, second] = self.sampler.draw_two(context.rng())?;
        Some([self.candidates.get(first)?, self.candidates.get(second)?])
    }

    #[inline(always)]
    fn better<'a>(
        &self,
        [first, second]: [&'a Candidate; 2],
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> &'a Candidate {
        let incumbent = Contender::new(first, &*self.load, context);
        let challenger = Contender::new(second, &*self.load, context);
        observer.compare(first, || incumbent.load());
        observer.compare(second, || challenger.load());
        if challenger.beats(&incumbent) {
            observer.say(|| verdict(&challenger, &incumbent));
            prevent_conditional_move();
            return second;
        }
        observer.say(|| verdict(&incumbent, &challenger));
        first
    }

    /// Picks while some candidates may be full or already tried.
    #[cold]
    fn pick_accepted(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        for _ in 0..MAX_DRAWS {
            let Some(two) = self.draw_two(context) else { return self.only(observer) };
            observer.say(|| drawn(two));
            match two.map(|candidate| context.accepts(candidate)) {
                [true, true] => return Some(self.better(two, context, observer)),
                [true, false] => {
                    observer.say(|| only(two[0]));
                    return Some(two[0]);
                }
                [false, true] => {
                    observer.say(|| only(two[1]));
                    return Some(two[1]);
                }
                [false, false] => {}
            }
        }
        observer.say(|| "searches all from a random one on".to_owned());
        self.candidates.fallback(context)
    }

    #[inline(always)]
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("p2c");
        if !context.accepts_all() {
            return self.pick_accepted(context, observer);
        }
        let Some(two) = self.draw_two(context) else { return self.only(observer) };
        observer.say(|| drawn(two));
        Some(self.better(two, context, observer))
    }

    /// Returns the only candidate, if there is one.
    #[cold]
    fn only(&self, observer: &mut impl Observe) -> Option<&Candidate> {
        observer.say(|| "there is no choice".to_owned());
        self.candidates.get(0)
    }
}

fn verdict(winner: &Contender<'_>, other: &Contender<'_>) -> String {
    let name = Brief::name(winner.candidate.name());
    if winner.candidate.weight() != other.candidate.weight() {
        format!("{name} is the better one for its weight")
    } else if winner.load() < other.load() {
        format!("{name} has the lower load")
    } else {
        "their loads are equal, so the first is picked".to_owned()
    }
}

fn only(accepted: &Candidate) -> String {
    format!("only {} can take the request", Brief::name(accepted.name()))
}

fn drawn([first, second]: [&Candidate; 2]) -> String {
    let [first, second] = [first, second].map(|one| Brief::name(one.name()));
    format!("draws {first} and {second}")
}

/// Keeps the comparison a branch, so that the processor can speculate past it before both loads
/// have been read. Compilers turn it into a conditional move, which took a quarter of a request's
/// time.
#[cold]
#[inline(never)]
fn prevent_conditional_move() {}

impl<L: Load, Req> Pick<Req> for P2cPicker<L> {
    observed_pick!(without Req);
}
