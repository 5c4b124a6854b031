/// Weighted turns without a lock and without a table of turns: a turn's index is that of plain round
/// robin, and is skipped the more often the lighter it is.
///
/// Turn s goes to index s mod n in its generation s div n, unless (w g + i h) mod m, with h half of
/// the greatest weight m, falls short of m - w. So an index is used in as many generations as its
/// weight says, evenly spread, and the skips of different indexes don't coincide.
///
/// Source: gRPC A58. Where we differ: a turn is never looked for longer than all indexes take.
#[derive(Debug)]
pub(super) struct StaticStride {
    /// The heaviest has [`HEAVIEST`].
    weights: Box<[u16]>,
}

const HEAVIEST: u64 = u16::MAX as u64;
const OFFSET: u64 = HEAVIEST / 2;

impl StaticStride {
    /// What is not above 0, or no number, gets no turn; if none is above 0, all get turns alike.
    pub(super) fn new(weights: &[f64]) -> Self {
        let heaviest =
            weights.iter().copied().filter(|weight| weight.is_finite()).fold(0.0, f64::max);
        let scaled = weights.iter().map(|&weight| match weight {
            _ if heaviest <= 0.0 => u16::MAX,
            // So light that it would be rounded to no turn at all.
            weight if weight > 0.0 => (weight / heaviest * HEAVIEST as f64).round().max(1.0) as u16,
            _ => 0,
        });
        Self { weights: scaled.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    /// The next index; `next` gives the numbers of turns one after the other. 0 if there is none.
    #[inline]
    pub(super) fn turn(&self, mut next: impl FnMut() -> u32) -> usize {
        let len = self.weights.len().max(1) as u64;
        let mut index = 0;
        // The heaviest takes every turn it gets, so a round finds one unless others take turns too.
        for _ in 0..2 * len {
            let turn = u64::from(next());
            index = (turn % len) as usize;
            let Some(&weight) = self.weights.get(index) else { return 0 };
            let weight = u64::from(weight);
            let phase = weight * (turn / len) + index as u64 * OFFSET;
            if weight > 0 && phase % HEAVIEST >= HEAVIEST - weight {
                return index;
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picks(weights: &[f64], start: u32, turns: usize) -> Vec<usize> {
        let table = StaticStride::new(weights);
        let mut sequence = start;
        let mut next = || {
            sequence = sequence.wrapping_add(1);
            sequence
        };
        (0..turns).map(|_| table.turn(&mut next)).collect()
    }

    fn counts(picks: &[usize], len: usize) -> Vec<f64> {
        let mut counts = vec![0.0; len];
        picks.iter().for_each(|&index| counts[index] += 1.0);
        counts
    }

    proptest! {
        /// Shares are those of the weights to within half a percent of all turns, wherever the
        /// sequence starts, also where it wraps around.
        #[test]
        fn shares_are_those_of_the_weights(
            weights in prop::collection::vec(0.1_f64..10.0, 1..20),
            start in prop_oneof![any::<u32>(), u32::MAX - 500..],
        ) {
            let turns = 40_000;
            let counts = counts(&picks(&weights, start, turns), weights.len());
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = count / turns as f64;
                prop_assert!((share - weight / total).abs() < 0.005, "{share} of {}", weight / total);
            }
        }
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(picks(&[2.0, 2.0, 2.0], u32::MAX, 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(picks(&[0.0, 0.0], u32::MAX, 4), [0, 1, 0, 1]);
    }

    #[test]
    fn light_ones_are_not_forgotten_and_what_has_no_weight_gets_no_turn() {
        let picked = picks(&[1.0, 1e-9, 0.0, f64::NAN, -3.0], 0, 200_000);
        let counts = counts(&picked, 5);
        assert!(counts[1] >= 1.0);
        assert_eq!(counts[2..], [0.0, 0.0, 0.0]);
    }

    #[test]
    fn nobody_gets_long_runs() {
        let picked = picks(&[3.0, 2.0, 1.0], 7, 6000);
        let longest = picked.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        assert_eq!(longest, Some(2));
    }
}
