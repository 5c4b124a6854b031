use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    Candidate, Candidates, Pick, PickContext, Rng, Strategy, low_discrepancy::LowDiscrepancy,
    smooth,
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
#[derive(Clone, Debug)]
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

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for RoundRobin {
    type Picker = RoundRobinPicker;

    fn picker(&mut self, candidates: &Candidates) -> RoundRobinPicker {
        RoundRobinPicker {
            order: Order::new(candidates),
            candidates: candidates.clone(),
            turn: Arc::clone(&self.turn),
        }
    }
}

/// The picker of [`RoundRobin`].
#[derive(Debug)]
pub struct RoundRobinPicker {
    candidates: Candidates,
    order: Order,
    turn: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    /// All weights are equal.
    Equal(Modulus),
    Cycle(Box<[u32]>, Modulus),
    Long(LowDiscrepancy),
}

impl Order {
    fn new(candidates: &Candidates) -> Self {
        if candidates.have_equal_weights() {
            return Self::Equal(Modulus::new(candidates.len()));
        }
        let weights: Vec<_> = candidates.iter().map(Candidate::weight).collect();
        match smooth::cycle(&weights) {
            Some(cycle) => {
                let len = Modulus::new(cycle.len());
                Self::Cycle(cycle, len)
            }
            None => Self::Long(LowDiscrepancy::new(&weights)),
        }
    }

    #[inline]
    fn index(&self, turn: u64) -> usize {
        match self {
            Self::Equal(len) => len.remainder(turn),
            Self::Cycle(cycle, len) => cycle[len.remainder(turn)] as usize,
            Self::Long(table) => table.turn(turn),
        }
    }
}

/// Remainders by multiplication; a division would be a third of the cost of a pick.
///
/// Turns are taken modulo 2^32, so once in so many the cycle starts over early.
///
/// Source: Lemire, Kaser and Kurz, "Faster remainder by direct computation" (2019).
#[derive(Clone, Copy, Debug)]
struct Modulus {
    divisor: u32,
    inverse: u64,
}

impl Modulus {
    fn new(divisor: usize) -> Self {
        let divisor = u32::try_from(divisor).unwrap_or(u32::MAX).max(1);
        Self { divisor, inverse: (u64::MAX / u64::from(divisor)).wrapping_add(1) }
    }

    #[inline]
    fn remainder(self, turn: u64) -> usize {
        let fraction = self.inverse.wrapping_mul(u64::from(turn as u32));
        ((u128::from(fraction) * u128::from(self.divisor)) >> 64) as usize
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn remainders_are_those_of_a_division(turn: u32, divisor in 1_usize..100_000) {
            let remainder = Modulus::new(divisor).remainder(turn.into());
            prop_assert_eq!(remainder, turn as usize % divisor);
        }
    }
}
