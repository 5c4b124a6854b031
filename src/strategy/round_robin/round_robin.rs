use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::order::Order;
use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rng, Strategy,
        explain::{Observe, observed_pick},
    },
};

/// Picks each endpoint in turn, in proportion to its weight and evenly spread: the turns of weights
/// 5, 1, 1 are a a b a c a a.
///
/// All clones of a balancer share one sequence of turns, without a lock. It starts at a random
/// turn, so that many new clients do not all send to the same endpoint first, and continues when
/// the endpoints change.
///
/// Source: smooth weighted round robin, as nginx made it known, in a cycle that is computed
/// beforehand. It has the smallest maximum deviation from the shares (Steiner and Yeomans, 1993),
/// which is always less than one turn. Where this differs from nginx: the order is the same for
/// simple weights. For others the largest deviation is smaller, and the gaps may be less even. For
/// cycles of more than 4096 turns, only the bound of one turn holds (Tijdeman, 1980). If the cycle
/// would be too long (more than 65 536 turns, or 262 144 turns times endpoints), turns follow the
/// multiples of the golden ratio instead: each endpoint is then within a few turns of its share at
/// any time.
#[derive(Debug)]
pub struct RoundRobin {
    turn: Arc<AtomicU64>,
}

impl RoundRobin {
    /// Starts at a random turn.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Rng::from_entropy().bits())
    }

    /// Starts at `turn`, for tests and simulations. Turn 0 is the first of the cycle.
    #[must_use]
    pub fn starting_at(turn: u64) -> Self {
        Self { turn: Arc::new(AtomicU64::new(turn)) }
    }
}

impl Clone for RoundRobin {
    /// The clone has a sequence of its own, which starts where this one is.
    fn clone(&self) -> Self {
        Self::starting_at(self.turn.load(Ordering::Relaxed))
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for RoundRobin {
    type Picker = RoundRobinPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<RoundRobinPicker> {
        let picker = RoundRobinPicker {
            order: Order::of(candidates),
            candidates: candidates.clone(),
            turn: Arc::clone(&self.turn),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// The picker of [`RoundRobin`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <RoundRobin as Strategy>::Picker")]
pub struct RoundRobinPicker {
    candidates: Candidates,
    order: Order,
    turn: Arc<AtomicU64>,
}

impl RoundRobinPicker {
    #[inline(always)]
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("round robin");
        pick_in_turn(&self.candidates, context, observer, |observer| {
            let turn = observer.turn(&self.turn);
            observer.say(|| self.order.describe(turn));
            self.order.index(turn)
        })
    }
}

impl<Req> Pick<Req> for RoundRobinPicker {
    observed_pick!(without Req);
}

/// How many turns a pick takes before it looks at all candidates.
const MAX_TURNS: usize = 32;

/// Returns the candidate at the next index, or at a later one if that is not accepted.
#[inline(always)]
pub(super) fn pick_in_turn<'a, O: Observe>(
    candidates: &'a Candidates,
    context: &mut PickContext<'_>,
    observer: &mut O,
    next_index: impl Fn(&mut O) -> usize,
) -> Option<&'a Candidate> {
    let next = candidates.get(next_index(observer))?;
    if context.accepts(next) {
        observer.note(next, || "it has the turn".to_owned());
        return Some(next);
    }
    skip(candidates, context, observer, next_index)
}

/// Returns the first accepted candidate of the next turns.
#[cold]
fn skip<'a, O: Observe>(
    candidates: &'a Candidates,
    context: &mut PickContext<'_>,
    observer: &mut O,
    next_index: impl Fn(&mut O) -> usize,
) -> Option<&'a Candidate> {
    let turns = candidates.len().min(MAX_TURNS);
    let mut next = (1..turns).filter_map(|_| candidates.get(next_index(observer)));
    let accepted = next.find(|candidate| context.accepts(candidate));
    accepted.or_else(|| {
        observer.say(|| "searches all from a random one on".to_owned());
        candidates.fallback(context)
    })
}
