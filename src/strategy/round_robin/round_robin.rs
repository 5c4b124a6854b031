use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::order::Order;
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rng, Strategy},
};

/// Each endpoint in turn, as often as its weight says and as evenly spread as can be: weights 5, 1, 1
/// give a a b a c a a.
///
/// All clones of a balancer take turns together, whatever the number of threads, without a lock. It
/// starts anywhere in the cycle, so that a fleet of fresh clients does not hit the same endpoint
/// first, and goes on from there when the endpoints change.
///
/// Source: smooth weighted round robin as nginx made it known, in a cycle that is worked out
/// beforehand by a rule that keeps everybody within a turn of its share (Tijdeman, 1980). Where that
/// would be too long (more than 65 536 turns, or 262 144 turns times endpoints) turns follow the
/// multiples of the golden ratio instead: shares are then met to within a few requests at any time.
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

    /// Starts at a given turn, for tests and simulations. Turn 0 is the first of the cycle.
    #[must_use]
    pub fn starting_at(turn: u64) -> Self {
        Self { turn: Arc::new(AtomicU64::new(turn)) }
    }
}

impl Clone for RoundRobin {
    /// Takes turns of its own, from where this one is.
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
pub struct RoundRobinPicker {
    candidates: Candidates,
    order: Order,
    turn: Arc<AtomicU64>,
}

impl RoundRobinPicker {
    #[inline]
    fn next(&self) -> Option<&Candidate> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.candidates.get(self.order.index(turn))
    }

    /// The next was not accepted.
    #[cold]
    fn skip(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let turns = self.candidates.len().min(SKIPS);
        let mut next = (1..turns).filter_map(|_| self.next());
        let accepted = next.find(|candidate| context.accepts(candidate));
        accepted.or_else(|| self.candidates.fallback(context))
    }
}

impl<Req> Pick<Req> for RoundRobinPicker {
    #[inline]
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let next = self.next()?;
        if context.accepts(next) { Some(next) } else { self.skip(context) }
    }
}

/// Turns that are skipped because an endpoint is not accepted, before all are looked at.
const SKIPS: usize = 32;
