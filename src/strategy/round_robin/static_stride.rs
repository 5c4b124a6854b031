/// An order of weighted turns without a lock and without a stored cycle: plain round robin, in
/// which an index is skipped more often the lighter it is.
///
/// Turn s belongs to index i = s mod n of n, in generation g = s div n. With w the weight of i, m
/// the greatest weight and h = m div 2, the turn is skipped if (w g + i h) mod m < m - w. So an
/// index has turns in a share w / m of the generations, evenly spread, and the skips of different
/// indexes do not coincide.
///
/// Source: gRPC A58. Where this differs: the search for a turn ends after twice the number of
/// indexes.
#[derive(Debug)]
pub(super) struct StaticStride {
    /// Scaled so that the heaviest is [`MAX_WEIGHT`].
    weights: Box<[u16]>,
}

const MAX_WEIGHT: u64 = u16::MAX as u64;
const OFFSET: u64 = MAX_WEIGHT / 2;

impl StaticStride {
    /// A weight that is not a number above 0 gets no turn. If none is above 0, all get equal turns.
    pub(super) fn new(weights: &[f64]) -> Self {
        let heaviest =
            weights.iter().copied().filter(|weight| weight.is_finite()).fold(0.0, f64::max);
        let scaled = weights.iter().map(|&weight| match weight {
            _ if heaviest <= 0.0 => u16::MAX,
            // At least 1: rounded to 0, a light index would never get a turn.
            weight if weight > 0.0 => {
                (weight / heaviest * MAX_WEIGHT as f64).round().max(1.0) as u16
            }
            _ => 0,
        });
        Self { weights: scaled.collect() }
    }

    /// Returns the weight of an index as a part of the heaviest.
    pub(super) fn relative_weight(&self, index: usize) -> f64 {
        let weight = self.weights.get(index).copied().unwrap_or_default();
        f64::from(weight) / f64::from(u16::MAX)
    }

    /// Returns the next index that has a turn; `next` returns consecutive numbers of turns. Returns
    /// 0 if there are no weights.
    #[inline]
    pub(super) fn index(&self, mut next: impl FnMut() -> u32) -> usize {
        let len = self.weights.len().max(1) as u64;
        let mut index = 0;
        // The heaviest skips no turn, so one generation finds an index, unless other threads take
        // its turn from the shared sequence at the same time.
        for _ in 0..2 * len {
            let turn = u64::from(next());
            index = (turn % len) as usize;
            let Some(&weight) = self.weights.get(index) else { return 0 };
            let weight = u64::from(weight);
            let phase = weight * (turn / len) + index as u64 * OFFSET;
            if weight > 0 && phase % MAX_WEIGHT >= MAX_WEIGHT - weight {
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
        (0..turns).map(|_| table.index(&mut next)).collect()
    }

    fn counts(picks: &[usize], len: usize) -> Vec<f64> {
        let mut counts = vec![0.0; len];
        picks.iter().for_each(|&index| counts[index] += 1.0);
        counts
    }

    proptest! {
        /// Shares are those of the weights to within half a percent of all turns, wherever the
        /// sequence starts, and also if it wraps around.
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
    fn light_ones_get_turns_and_those_without_weight_get_none() {
        let picked = picks(&[1.0, 1e-9, 0.0, f64::NAN, -3.0], 0, 200_000);
        let counts = counts(&picked, 5);
        assert!(counts[1] >= 1.0);
        assert_eq!(counts[2..], [0.0, 0.0, 0.0]);
    }

    #[test]
    fn no_index_gets_long_runs() {
        let picked = picks(&[3.0, 2.0, 1.0], 7, 6000);
        let longest = picked.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        assert_eq!(longest, Some(2));
    }
}
