use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
    explain::{Observe, observed_pick},
    sampling::sampler::Sampler,
};
use crate::outcome::Meter;

/// Selects a random endpoint, in proportion to the weights, in constant time.
///
/// Source: Walker's alias method where weights differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Strategy for Random {
    type Picker = RandomPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<RandomPicker> {
        let sampler = Sampler::new(candidates);
        Built::new(RandomPicker { sampler, candidates: candidates.clone() }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// The picker of [`Random`].
#[expect(unnameable_types, reason = "named as <Random as Strategy>::Picker")]
#[derive(Debug)]
pub struct RandomPicker {
    candidates: Candidates,
    sampler: Sampler,
}

/// The number of draws before all candidates are searched for an accepted one.
const MAX_DRAWS: usize = 4;

impl RandomPicker {
    // Always inlined, so that the context of a pick without limits stays in registers.
    #[inline(always)]
    fn draw(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.candidates.get(self.sampler.draw(context.rng()))
    }

    /// Draws again after the first draw was not accepted.
    #[cold]
    fn redraw(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        for _ in 1..MAX_DRAWS {
            let candidate = self.draw(context)?;
            observer.note(candidate, || "drawn".to_owned());
            if context.accepts(candidate) {
                return Some(candidate);
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
        observer.step("random");
        observer.say(|| match self.sampler {
            Sampler::Uniform(count) => format!("draws one of {count}"),
            Sampler::Weighted(_) => format!("draws one of {} by weight", self.candidates.len()),
        });
        let drawn = self.draw(context)?;
        observer.note(drawn, || "drawn".to_owned());
        if context.accepts(drawn) { Some(drawn) } else { self.redraw(context, observer) }
    }
}

impl<Req> Pick<Req> for RandomPicker {
    observed_pick!(without Req);
}
