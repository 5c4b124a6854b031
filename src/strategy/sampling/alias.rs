use crate::strategy::Rng;

/// Draws indexes in proportion to their weights, in constant time.
///
/// Source: Walker's alias method as built by Vose. Where this differs: it uses integer arithmetic,
/// so that the shares are exact to 2^-64 for any `u32` weights.
#[derive(Debug)]
pub(crate) struct AliasTable {
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// A fraction of 2^64: below it the slot's own index is drawn, otherwise `other`.
    threshold: u64,
    other: u32,
}

impl AliasTable {
    /// Builds the table; returns `None` if no weight is above 0.
    pub(crate) fn new(weights: &[u32]) -> Option<Self> {
        let (len, total) = (weights.len() as u128, weights.iter().map(|&w| u128::from(w)).sum());
        if total == 0_u128 {
            return None;
        }
        let mut slots: Box<[_]> =
            (0..weights.len() as u32).map(|other| Slot { threshold: u64::MAX, other }).collect();
        // Scaled so that a weight of `total` fills exactly one slot.
        let mut scaled: Vec<u128> = weights.iter().map(|&w| u128::from(w) * len).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&index| scaled[index] < total);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            let threshold = (scaled[poor] << 64) / total;
            slots[poor] = Slot { threshold: threshold as u64, other: rich as u32 };
            // The rich index fills the rest of the poor one's slot.
            scaled[rich] -= total - scaled[poor];
            if scaled[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Some(Self { slots })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let (index, fraction) = rng.split(self.slots.len());
        let Slot { threshold, other } = self.slots[index];
        if fraction < threshold { index } else { other as usize }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::any, prop_assert, proptest};

    use super::*;

    /// Returns the exact probability of each index according to the table.
    fn shares(table: &AliasTable) -> Vec<f64> {
        let mut shares = vec![0.0; table.slots.len()];
        for (index, slot) in table.slots.iter().enumerate() {
            let own = if slot.other as usize == index {
                1.0
            } else {
                slot.threshold as f64 / 2_f64.powi(64)
            };
            shares[index] += own;
            shares[slot.other as usize] += 1.0 - own;
        }
        shares.iter().map(|share| share / table.slots.len() as f64).collect()
    }

    proptest! {
        #[test]
        fn shares_are_exact(weights in vec(any::<u32>(), 1..60)) {
            let Some(table) = AliasTable::new(&weights) else {
                prop_assert!(weights.iter().all(|&w| w == 0));
                return Ok(());
            };
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            for (share, &weight) in shares(&table).iter().zip(&weights) {
                prop_assert!((share - f64::from(weight) / total).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn weight_zero_is_never_drawn_and_all_zero_yields_no_table() {
        assert!(AliasTable::new(&[0, 0]).is_none());
        assert!(AliasTable::new(&[]).is_none());
        let table = AliasTable::new(&[0, u32::MAX, 0, 1]).unwrap();
        let mut rng = Rng::seeded(7);
        assert!((0..100_000).all(|_| [1, 3].contains(&table.draw(&mut rng))));
    }
}
