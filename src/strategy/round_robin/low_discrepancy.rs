/// An order of weighted turns for weights whose smooth cycle is too long to store.
///
/// The indexes divide a line into segments, each as long as its weight. Turn t goes to the segment
/// that contains the point frac(t / φ). Multiples of the golden ratio fill the line more evenly
/// than those of any other number, so after any number of turns each index is within a few turns of
/// its share. The turn is the only state.
///
/// Source: Weyl's equidistribution theorem; Knuth, TAOCP 6.4, on the golden ratio. Segments are
/// found by Chen and Asau's indexed search, in constant time on average.
#[derive(Debug)]
pub(crate) struct LowDiscrepancy {
    /// Where each segment ends.
    ends: Box<[u64]>,
    /// The line is also divided into equal parts, as many as there are segments. For each part, the
    /// segment in which it begins.
    guide: Box<[u32]>,
}

/// 2^64 / φ, rounded to an odd number so that its multiples modulo 2^64 are distinct.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl LowDiscrepancy {
    /// At least one weight must be above 0; otherwise every turn goes to index 0.
    pub(super) fn new(weights: &[u32]) -> Self {
        let mut total = 0;
        let ends: Box<[u64]> = weights
            .iter()
            .map(|&weight| {
                total += u64::from(weight);
                total
            })
            .collect();
        let mut segment = 0;
        let guide = (0..weights.len() as u128)
            .map(|part| {
                let start = (part * u128::from(total) / weights.len() as u128) as u64;
                while ends.get(segment as usize).is_some_and(|&end| end <= start) {
                    segment += 1;
                }
                segment
            })
            .collect();
        Self { ends, guide }
    }

    #[inline(never)]
    pub(super) fn turn(&self, turn: u64) -> usize {
        let fraction = u128::from(turn.wrapping_mul(GOLDEN));
        let Some(&total) = self.ends.last() else {
            return 0;
        };
        let point = ((fraction * u128::from(total)) >> 64) as u64;
        let part = ((fraction * self.guide.len() as u128) >> 64) as usize;
        // Rounding may put the start of a part past the point. The guide is then one segment too
        // far.
        let mut index = (self.guide[part] as usize).min(self.ends.len() - 1);
        while index > 0 && self.ends[index - 1] > point {
            index -= 1;
        }
        while index + 1 < self.ends.len() && self.ends[index] <= point {
            index += 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_met_to_within_a_few_turns(
            weights in prop::collection::vec(1_u32.., 1..20),
            start: u64,
        ) {
            let table = LowDiscrepancy::new(&weights);
            let turns = 10_000;
            let mut picks = vec![0_u32; weights.len()];
            for turn in 0..turns {
                picks[table.turn(start.wrapping_add(turn))] += 1;
            }
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (&picks, &weight) in picks.iter().zip(&weights) {
                let expected = f64::from(weight) / total * turns as f64;
                prop_assert!((f64::from(picks) - expected).abs() < 12.0, "{picks} of {expected}");
            }
        }
    }

    #[test]
    fn weight_zero_gets_no_turn() {
        let table = LowDiscrepancy::new(&[0, u32::MAX, 0, 1, 0]);
        assert!((0..100_000).all(|turn| [1, 3].contains(&table.turn(turn))));
        assert_eq!(LowDiscrepancy::new(&[]).turn(3), 0);
    }
}
