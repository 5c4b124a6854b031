use super::{low_discrepancy::LowDiscrepancy, smooth};
use crate::strategy::{Candidate, Candidates};

/// An order of turns in which each index comes up in proportion to its weight, evenly spread.
#[derive(Debug)]
pub(crate) enum Order {
    /// All weights are equal: plain round robin.
    Equal(Modulus),
    /// A stored cycle of indexes.
    Cycle(Box<[u32]>, Modulus),
    /// The cycle would be too long to store.
    LowDiscrepancy(LowDiscrepancy),
}

impl Order {
    pub(crate) fn of(candidates: &Candidates) -> Self {
        if candidates.have_equal_weights() {
            return Self::Equal(Modulus::new(candidates.len()));
        }
        let weights: Vec<_> = candidates.iter().map(Candidate::weight).collect();
        Self::new(&weights)
    }

    pub(crate) fn new(weights: &[u32]) -> Self {
        match smooth::cycle(weights) {
            Some(cycle) => {
                let len = Modulus::new(cycle.len());
                Self::Cycle(cycle, len)
            }
            None => Self::LowDiscrepancy(LowDiscrepancy::new(weights)),
        }
    }

    /// Describes a turn, for explanations.
    pub(crate) fn describe(&self, turn: u64) -> String {
        match self {
            Self::Equal(len) | Self::Cycle(_, len) => {
                format!("turn {} of a cycle of {}", len.remainder(turn) + 1, len.divisor)
            }
            Self::LowDiscrepancy(_) => format!("turn {turn} of a sequence by weight"),
        }
    }

    /// Returns the index, among the weights, that has this turn; 0 if there are no weights.
    // Always inlined, so that a pick with equal weights has no call.
    #[inline(always)]
    pub(crate) fn index(&self, turn: u64) -> usize {
        match self {
            Self::Equal(len) => len.remainder(turn),
            Self::Cycle(cycle, len) => cycle[len.remainder(turn)] as usize,
            Self::LowDiscrepancy(table) => table.turn(turn),
        }
    }
}

/// Computes remainders by multiplication, because a division would be a third of the cost of a
/// pick.
///
/// Turns are taken modulo 2^32, so every 2^32 turns the cycle starts over early.
///
/// Source: Lemire, Kaser and Kurz, "Faster remainder by direct computation" (2019).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modulus {
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
