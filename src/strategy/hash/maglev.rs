use std::sync::Arc;

use super::{
    hash_order::{HashEntry, HashOrder, Memo},
    hash_picker::{HashPicker, Table},
};
use crate::{
    ConfigError,
    hash::mix,
    outcome::Meter,
    rng::scale,
    strategy::{BuildContext, Built, Candidates, Strategy},
};

/// Maglev hashing: a table maps keys to endpoints, and a pick is one look-up, however many
/// endpoints there are.
///
/// Shares are those of the weights to within one or two entries of the table, which has 65 537.
/// When an endpoint is removed or a weight changes, some keys of others move too: a few in a
/// thousand, as long as the table has a hundred times as many entries as there are endpoints. If
/// the first endpoint of a key cannot take a request, the next ones are found at other entries, so
/// that the load of an endpoint that fails is spread over all.
///
/// An endpoint is identified by its label `hash_key`, or by its name if it has no such label. Each
/// has at least one entry, however small its weight. If there are more endpoints than entries,
/// those whose names hash highest get no keys.
///
/// Source: Eisenbud et al., "Maglev: a fast and reliable software network load balancer" (2016).
/// Where this differs: entries are apportioned by Webster's method, evenly spread over the turns,
/// where Envoy's rule favours light endpoints; an entry is found by multiplication instead of
/// division.
#[derive(Clone, Debug)]
pub struct Maglev<K> {
    key: Arc<K>,
    table_size: u32,
    memo: Memo<MaglevTable>,
}

const DEFAULT_TABLE_SIZE: u32 = 65_537;
/// The largest prime that Envoy allows. A table of this size takes 20 MB.
const MAX_TABLE_SIZE: u32 = 5_000_011;

impl<K> Maglev<K> {
    /// Sends requests of the same key to the same endpoint.
    pub fn new(key: K) -> Self {
        Self { key: Arc::new(key), table_size: DEFAULT_TABLE_SIZE, memo: Memo::new() }
    }

    /// Sets the number of entries of the table. Default 65 537.
    ///
    /// It must be a prime, and should be at least a hundred times the number of endpoints.
    /// Processes that send the same key to the same endpoint must use the same number.
    ///
    /// # Errors
    ///
    /// If `entries` is not a prime, or is above 5 000 011.
    pub fn table_size(mut self, entries: u32) -> Result<Self, ConfigError> {
        if entries > MAX_TABLE_SIZE || !is_prime(entries) {
            let prime = (entries.min(MAX_TABLE_SIZE)..MAX_TABLE_SIZE).find(|&n| is_prime(n));
            let prime = prime.unwrap_or(MAX_TABLE_SIZE);
            let expected = format!("a prime of at most {MAX_TABLE_SIZE}, such as {prime}");
            return Err(ConfigError::new("table_size", expected).with_value(entries));
        }
        self.table_size = entries;
        Ok(self)
    }
}

impl<K> Strategy for Maglev<K> {
    type Picker = HashPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<HashPicker<K>> {
        let (order, key) = (HashOrder::new(candidates), Arc::clone(&self.key));
        let memo = self.memo.table(&order, |entries| MaglevTable::new(entries, self.table_size));
        Built::new(HashPicker { key, order, table: Table::Maglev(memo) }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// How many entries a pick looks up before it draws among all candidates.
pub(super) const LOOKUPS: u64 = 16;

/// Indexes of the [`HashOrder`], by parts of the hash; empty if there are no candidates.
#[derive(Clone, Debug)]
pub(super) struct MaglevTable(Box<[u32]>);

impl MaglevTable {
    /// Fills a table of `size` entries, a prime.
    ///
    /// In each turn one endpoint takes the first free entry of its permutation. That starts at an
    /// entry and advances by a step, both of which depend only on the endpoint's hash; as `size` is
    /// a prime, it visits the whole table.
    fn new(entries: &[HashEntry], size: u32) -> Self {
        const FREE: u32 = u32::MAX;
        let mut table = vec![FREE; if entries.is_empty() { 0 } else { size as usize }];
        let permutation = |entry: &HashEntry| {
            let below = |hash, limit: u32| scale(hash, limit as usize).0 as u32;
            (below(entry.hash, size), below(mix(entry.hash), size - 1) + 1)
        };
        let mut permutations: Vec<_> = entries.iter().map(permutation).collect();
        for index in turns(entries, table.len()) {
            let (next, step) = &mut permutations[index as usize];
            loop {
                let slot = &mut table[*next as usize];
                *next += *step;
                if *next >= size {
                    *next -= size;
                }
                if *slot == FREE {
                    *slot = index;
                    break;
                }
            }
        }
        Self(table.into())
    }

    #[inline]
    pub(super) fn index(&self, hash: u64) -> Option<usize> {
        let (slot, _) = scale(hash, self.0.len());
        Some(*self.0.get(slot)? as usize)
    }
}

/// Returns the index of the endpoint that takes an entry in each turn: each endpoint once, then
/// each in proportion to its weight.
///
/// Source: Webster's method of apportionment, also known as Sainte-Laguë's: the nth entry is due
/// in proportion to (n - 1/2) / weight.
fn turns(entries: &[HashEntry], size: usize) -> Vec<u32> {
    let total: u64 = entries.iter().map(|entry| u64::from(entry.weight)).sum();
    let heaviest = entries.iter().map(|entry| entry.weight).max().unwrap_or_default();
    if entries.iter().all(|entry| entry.weight == heaviest) {
        return (0..entries.len() as u32).cycle().take(size).collect();
    }
    let mut turns = Vec::with_capacity(size + 2 * entries.len());
    for (entry, index) in entries.iter().zip(0_u32..) {
        let weight = u64::from(entry.weight);
        turns.push((0, index));
        // The turn above and one beyond the quota, which is rounded down: at least `size` turns in
        // all.
        let quota = size as u64 * weight / total;
        // `size` is below 2^23 and a weight below 2^32, so nothing overflows. The shift keeps seven
        // fraction bits of the quotient.
        let due = |n: u64| (((2 * n + 1) * u64::from(heaviest)) << 7) / weight;
        turns.extend((1..quota + 2).map(|n| (due(n), index)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).take(size).collect()
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|&d| d * d <= n).all(|d| n % d != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash_entries(weights: &[u32]) -> Vec<HashEntry> {
        weights.iter().zip(0..).map(|(&weight, n)| HashEntry { hash: mix(n), weight }).collect()
    }

    fn entries(table: &MaglevTable, len: usize) -> Vec<u32> {
        let mut entries = vec![0; len];
        table.0.iter().for_each(|&index| entries[index as usize] += 1);
        entries
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// To within two entries, as long as each weight's share is at least one entry.
        #[test]
        fn entries_are_shared_by_weight(weights in prop::collection::vec(1_u32..1000, 1..60)) {
            let size = 65_537;
            let table = MaglevTable::new(&hash_entries(&weights), size);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (&entries, &weight) in entries(&table, weights.len()).iter().zip(&weights) {
                let share = f64::from(weight) / total * f64::from(size);
                prop_assert!((f64::from(entries) - share).abs() < 2.0, "{entries} for {share}");
            }
        }

        #[test]
        fn each_endpoint_has_an_entry_whatever_its_weight(weights in prop::collection::vec(1_u32.., 0..60)) {
            let table = MaglevTable::new(&hash_entries(&weights), 251);
            let entries = entries(&table, weights.len());
            prop_assert!(entries.iter().all(|&entries| entries > 0), "{entries:?}");
        }
    }

    #[test]
    fn equal_weights_differ_by_one_entry_at_most() {
        for weight in [1, u32::MAX] {
            let entries = entries(&MaglevTable::new(&hash_entries(&[weight; 100]), 65_537), 100);
            assert!(entries.iter().all(|entries| [655, 656].contains(entries)));
        }
    }

    #[test]
    fn more_endpoints_than_entries_leave_the_last_without_keys() {
        for weights in [[1; 5], [1, 2, 1, 2, 1]] {
            assert_eq!(entries(&MaglevTable::new(&hash_entries(&weights), 3), 5), [1, 1, 1, 0, 0]);
        }
        assert_eq!(entries(&MaglevTable::new(&hash_entries(&[1, 2, 3]), 2), 3), [1, 1, 0]);
    }

    #[test]
    fn sizes_that_are_not_primes_are_rejected() {
        for good in [2, 3, 251, 65_537, 655_373, MAX_TABLE_SIZE] {
            assert!(Maglev::new(()).table_size(good).is_ok(), "{good}");
        }
        for bad in [0, 1, 4, 65_536, MAX_TABLE_SIZE + 2, 4_294_967_291, u32::MAX] {
            let error = Maglev::new(()).table_size(bad).unwrap_err();
            assert_eq!((error.field(), error.value()), ("table_size", Some(&*bad.to_string())));
        }
        let advice = |entries| Maglev::new(()).table_size(entries).unwrap_err().to_string();
        assert!(advice(65_536).ends_with("such as 65537"), "{}", advice(65_536));
        assert!(advice(u32::MAX).ends_with("such as 5000011"), "{}", advice(u32::MAX));
    }
}
