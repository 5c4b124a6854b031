use std::{fmt, sync::Arc};

use super::{
    hash_order::{HashEntry, HashOrder, Memo, Memoized},
    rank,
};
use crate::{
    hash::mix,
    outcome::Meter,
    rng::scale,
    strategy::{
        BuildContext, Built, Candidate, Candidates, HashKey, Pick, PickContext, Rank, Rng, Strategy,
    },
};

/// Maglev hashing: a table says which endpoint gets which keys; a pick is one look-up, however many
/// endpoints there are.
///
/// Shares are those of the weights to within one or two entries of the table, which has 65 537. When an
/// endpoint goes or a weight changes, some keys of others move too: a few in a thousand, as long as the
/// table has a hundred times as many entries as there are endpoints. A key's other endpoints, in case
/// the first will not do, are those of other entries, so that the load of one that fails is spread
/// over all.
///
/// An endpoint is known by its name, or by its label `hash_key` if it has one. Each has at least one
/// entry, however small its weight. If there are more endpoints than entries, those whose names hash
/// highest get no keys.
///
/// Source: Eisenbud et al., "Maglev: a fast and reliable software network load balancer" (2016).
/// Where we differ: entries are shared out by Webster's method, evenly spread over the turns, where
/// Envoy's rule favours the light; an entry is found by multiplication instead of division.
#[derive(Clone, Debug)]
pub struct Maglev<K> {
    key: Arc<K>,
    table_size: u32,
    memo: Memo<Table>,
}

/// Places of candidates.
type Table = Box<[u32]>;

const DEFAULT_SIZE: u32 = 65_537;
/// As in Envoy. A table of this size takes 20 MB.
const MAX_SIZE: u32 = 5_000_011;

impl<K> Maglev<K> {
    /// Sends requests of the same key to the same endpoint.
    pub fn new(key: K) -> Self {
        Self { key: Arc::new(key), table_size: DEFAULT_SIZE, memo: Memo::new() }
    }

    /// How many entries the table has: a prime, at least a hundred times the number of endpoints, and
    /// the same in every process that should agree. Default 65 537.
    ///
    /// # Errors
    ///
    /// If it is not a prime, or above 5 000 011.
    pub fn table_size(mut self, entries: u32) -> Result<Self, InvalidTableSize> {
        if entries > MAX_SIZE || !is_prime(entries) {
            return Err(InvalidTableSize { entries });
        }
        self.table_size = entries;
        Ok(self)
    }
}

impl<K> Strategy for Maglev<K> {
    type Picker = MaglevPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let places = HashOrder::new(candidates);
        let memo = self.memo.table(&places, |seats| fill(seats, self.table_size));
        let picker = MaglevPicker { places, memo, key: Arc::clone(&self.key) };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// The picker of [`Maglev`].
#[derive(Debug)]
pub struct MaglevPicker<K> {
    places: HashOrder,
    memo: Arc<Memoized<Table>>,
    key: Arc<K>,
}

/// Entries that are looked up before every candidate is looked at.
const PROBES: u64 = 16;

impl<K> MaglevPicker<K> {
    #[inline]
    fn look_up(&self, hash: u64) -> Option<&Candidate> {
        let table = &self.memo.table;
        let (entry, _) = scale(hash, table.len());
        self.places.get(*table.get(entry)? as usize)
    }

    /// The first was not accepted.
    #[cold]
    fn next(&self, hash: u64, mut accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        (1..PROBES)
            .filter_map(|probe| self.look_up(mix(hash.wrapping_add(probe))))
            .find(|candidate| accepts(candidate))
            .or_else(|| self.places.draw(hash, accepts))
    }
}

impl<K: HashKey<Req>, Req> Rank<Req> for MaglevPicker<K> {
    #[inline]
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64 {
        rank::hash(&*self.key, request, rng)
    }

    #[inline]
    fn highest(
        &self,
        hash: u64,
        mut accepts: impl FnMut(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let first = self.look_up(hash)?;
        if accepts(first) { Some(first) } else { self.next(hash, accepts) }
    }
}

impl<K: HashKey<Req>, Req> Pick<Req> for MaglevPicker<K> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        rank::pick(self, request, context)
    }
}

/// A table of `size` entries, a prime; empty if nobody is there.
///
/// In each turn somebody takes the first free entry of a walk that is its own and leads through the
/// whole table.
fn fill(seats: &[HashEntry], size: u32) -> Table {
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; if seats.is_empty() { 0 } else { size as usize }];
    let walk = |seat: &HashEntry| {
        let below = |hash, limit: u32| scale(hash, limit as usize).0 as u32;
        (below(seat.hash, size), below(mix(seat.hash), size - 1) + 1)
    };
    let mut walks: Vec<_> = seats.iter().map(walk).collect();
    for place in turns(seats, table.len()) {
        let (next, step) = &mut walks[place as usize];
        loop {
            let entry = &mut table[*next as usize];
            *next += *step;
            if *next >= size {
                *next -= size;
            }
            if *entry == FREE {
                *entry = place;
                break;
            }
        }
    }
    table.into()
}

/// Who takes an entry in which turn: everybody once, then each as its weight says.
///
/// Source: Webster's method of apportionment, also known as Sainte-Laguë's: the nth entry is due in
/// proportion to (n - 1/2) / weight.
fn turns(seats: &[HashEntry], size: usize) -> Vec<u32> {
    let total: u64 = seats.iter().map(|seat| u64::from(seat.weight)).sum();
    let heaviest = seats.iter().map(|seat| seat.weight).max().unwrap_or_default();
    if seats.iter().all(|seat| seat.weight == heaviest) {
        return (0..seats.len() as u32).cycle().take(size).collect();
    }
    let mut turns = Vec::with_capacity(size + 2 * seats.len());
    for (seat, place) in seats.iter().zip(0_u32..) {
        let weight = u64::from(seat.weight);
        turns.push((0, place));
        // Below 2^23 of 2^32 each: no overflow.
        let quota = size as u64 * weight / total;
        let due = |n: u64| (((2 * n + 1) * u64::from(heaviest)) << 7) / weight;
        turns.extend((1..quota + 2).map(|n| (due(n), place)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, place)| place).take(size).collect()
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|&d| d * d <= n).all(|d| n % d != 0)
}

/// A number of entries that no [`Maglev`] table can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTableSize {
    entries: u32,
}

impl fmt::Display for InvalidTableSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prime = (self.entries.min(MAX_SIZE)..=MAX_SIZE).find(|&n| is_prime(n));
        let entries = self.entries;
        write!(
            f,
            "a Maglev table can't have {entries} entries: take a prime of at most {MAX_SIZE}"
        )?;
        prime.map_or(Ok(()), |prime| write!(f, ", such as {prime}"))
    }
}

impl std::error::Error for InvalidTableSize {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seats(weights: &[u32]) -> Vec<HashEntry> {
        weights.iter().zip(0..).map(|(&weight, n)| HashEntry { hash: mix(n), weight }).collect()
    }

    fn entries(table: &Table, places: usize) -> Vec<u32> {
        let mut entries = vec![0; places];
        table.iter().for_each(|&place| entries[place as usize] += 1);
        entries
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// To within two entries, where no weight is so small that its one entry is more than its
        /// share.
        #[test]
        fn entries_are_shared_by_weight(weights in prop::collection::vec(1_u32..1000, 1..60)) {
            let size = 65_537;
            let table = fill(&seats(&weights), size);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (&entries, &weight) in entries(&table, weights.len()).iter().zip(&weights) {
                let share = f64::from(weight) / total * f64::from(size);
                prop_assert!((f64::from(entries) - share).abs() < 2.0, "{entries} for {share}");
            }
        }

        #[test]
        fn any_weights_will_do(weights in prop::collection::vec(1_u32.., 0..60)) {
            let table = fill(&seats(&weights), 251);
            let entries = entries(&table, weights.len());
            prop_assert!(entries.iter().all(|&entries| entries > 0), "{entries:?}");
        }
    }

    #[test]
    fn equal_weights_differ_by_one_entry_at_most() {
        for weight in [1, u32::MAX] {
            let entries = entries(&fill(&seats(&[weight; 100]), 65_537), 100);
            assert!(entries.iter().all(|entries| [655, 656].contains(entries)));
        }
    }

    #[test]
    fn more_endpoints_than_entries_leave_the_last_without_keys() {
        for weights in [[1; 5], [1, 2, 1, 2, 1]] {
            assert_eq!(entries(&fill(&seats(&weights), 3), 5), [1, 1, 1, 0, 0]);
        }
        assert_eq!(entries(&fill(&seats(&[1, 2, 3]), 2), 3), [1, 1, 0]);
    }

    #[test]
    fn sizes_that_are_no_primes_are_refused() {
        for good in [2, 3, 251, 65_537, 655_373, MAX_SIZE] {
            assert!(Maglev::new(()).table_size(good).is_ok(), "{good}");
        }
        for bad in [0, 1, 4, 65_536, MAX_SIZE + 2, 4_294_967_291, u32::MAX] {
            assert_eq!(Maglev::new(()).table_size(bad).unwrap_err().entries, bad);
        }
        let advice = |entries| InvalidTableSize { entries }.to_string();
        assert!(advice(65_536).ends_with("such as 65537"), "{}", advice(65_536));
        assert!(advice(u32::MAX).ends_with("such as 5000011"), "{}", advice(u32::MAX));
    }
}
