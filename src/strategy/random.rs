use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
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
    #[inline]
    fn draw(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.candidates.get(self.sampler.draw(context.rng()))
    }

    /// Draws again after the first draw was not accepted.
    #[cold]
    fn redraw(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        for _ in 1..MAX_DRAWS {
            let candidate = self.draw(context)?;
            if context.accepts(candidate) {
                return Some(candidate);
            }
        }
        self.candidates.fallback(context)
    }
}

impl<Req> Pick<Req> for RandomPicker {
    #[inline]
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let drawn = self.draw(context)?;
        if context.accepts(drawn) { Some(drawn) } else { self.redraw(context) }
    }
}
