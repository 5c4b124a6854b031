use std::sync::{Arc, Weak};

use super::log2::neg_log2;
use crate::{
    hash::{mix, stable_hash},
    strategy::{Candidate, Candidates},
};

/// The candidates in the order of the hashes of their names, whatever order discovery gives them
/// in.
///
/// Hash tables refer to a candidate by its index in this order, so that clients which see the same
/// endpoints build the same tables.
#[derive(Debug)]
pub(crate) struct HashOrder {
    candidates: Candidates,
    pub(crate) entries: Arc<[HashEntry]>,
    /// The index in `candidates` of each entry.
    indexes: Box<[u32]>,
    equal_weights: bool,
}

/// The properties of a candidate that decide which keys it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashEntry {
    pub(crate) hash: u64,
    pub(crate) weight: u32,
}

impl HashEntry {
    /// Returns the score that this entry draws for `hash`, by weight.
    #[inline]
    pub(crate) fn draw(&self, hash: u64) -> HashScore {
        let random = mix(hash ^ self.hash);
        HashScore { cost: neg_log2(random), weight: self.weight, random }
    }
}

/// The label that replaces an endpoint's name.
const LABEL: &str = "hash_key";

impl HashOrder {
    pub(crate) fn new(candidates: &Candidates) -> Self {
        // Endpoints of weight 0 are candidates only if a panic rule admits them. They get keys only
        // if there are no others.
        let all_zero = candidates.iter().all(|candidate| candidate.weight() == 0);
        let entry = |candidate: &Candidate| HashEntry {
            hash: stable_hash(candidate.metadata().get(LABEL).unwrap_or_else(|| candidate.name())),
            weight: candidate.weight().max(u32::from(all_zero)),
        };
        let mut sorted: Vec<_> = candidates.iter().map(entry).zip(0_u32..).collect();
        sorted.retain(|(entry, _)| entry.weight > 0);
        let name = |index: u32| candidates.get(index as usize).map(Candidate::name);
        // Equal hashes are ordered by name: the order must not depend on that of discovery.
        sorted.sort_unstable_by(|(a, index_a), (b, index_b)| {
            a.hash.cmp(&b.hash).then_with(|| name(*index_a).cmp(&name(*index_b)))
        });
        Self {
            candidates: candidates.clone(),
            entries: sorted.iter().map(|&(entry, _)| entry).collect(),
            indexes: sorted.iter().map(|&(_, index)| index).collect(),
            equal_weights: candidates.have_equal_weights(),
        }
    }

    /// Returns the candidate of the entry at `index`.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&Candidate> {
        self.candidates.get(*self.indexes.get(index)? as usize)
    }

    /// Returns the accepted candidate with the best score for `hash`, by weight.
    #[inline]
    pub(crate) fn draw(
        &self,
        hash: u64,
        accepts: impl FnMut(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        if self.equal_weights {
            // The cost falls as `random` rises, so for equal weights no logarithm is needed.
            self.best(accepts, |entry| HashScore {
                cost: 0,
                weight: 1,
                random: mix(hash ^ entry.hash),
            })
        } else {
            self.best(accepts, |entry| entry.draw(hash))
        }
    }

    #[inline]
    fn best(
        &self,
        mut accepts: impl FnMut(&Candidate) -> bool,
        score: impl Fn(&HashEntry) -> HashScore,
    ) -> Option<&Candidate> {
        let mut best: Option<(HashScore, &Candidate)> = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let score = score(entry);
            // The score is compared first: it is cheaper than `accepts`, which reads the candidate.
            if best.is_some_and(|(best, _)| !score.beats(best)) {
                continue;
            }
            if let Some(candidate) = self.get(index).filter(|candidate| accepts(candidate)) {
                best = Some((score, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }
}

/// What an entry draws for a hash. The least `cost / weight` wins: costs are distributed
/// exponentially, so an entry wins with a probability in proportion to its weight.
#[derive(Clone, Copy)]
pub(crate) struct HashScore {
    cost: u64,
    weight: u32,
    /// The number that `cost` is computed from; the greater one wins a tie.
    random: u64,
}

impl HashScore {
    #[inline]
    pub(crate) fn beats(self, other: Self) -> bool {
        // Both sides of `cost / weight` are multiplied by both weights, to stay within integers.
        let ours = u128::from(self.cost) * u128::from(other.weight);
        let theirs = u128::from(other.cost) * u128::from(self.weight);
        ours < theirs || (ours == theirs && self.random > other.random)
    }
}

/// The tables in use, so that a change that does not concern them builds none: a label, or an
/// endpoint that gets no requests anyway.
///
/// There may be several: a strategy that wraps the hash asks for one picker over each of its parts.
#[derive(Clone, Debug)]
pub(crate) struct Memo<T>(Vec<Weak<Memoized<T>>>);

/// A table, and the entries it was built from.
#[derive(Debug)]
pub(crate) struct Memoized<T> {
    entries: Arc<[HashEntry]>,
    pub(crate) table: T,
}

impl<T> Memo<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the table in use that was built from the entries of `order`, or builds it.
    pub(crate) fn table(
        &mut self,
        order: &HashOrder,
        build: impl FnOnce(&[HashEntry]) -> T,
    ) -> Arc<Memoized<T>> {
        self.0.retain(|built| built.strong_count() > 0);
        let mut in_use = self.0.iter().filter_map(Weak::upgrade);
        if let Some(same) = in_use.find(|built| built.entries == order.entries) {
            return same;
        }
        let entries = Arc::clone(&order.entries);
        let built = Arc::new(Memoized { table: build(&entries), entries });
        self.0.push(Arc::downgrade(&built));
        built
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::{Endpoint, Health},
        strategy::Random,
    };

    fn order(endpoints: &[(&str, Endpoint<()>)]) -> HashOrder {
        let endpoints = endpoints.iter().map(|(name, endpoint)| (name, endpoint));
        HashOrder::new(&Candidates::for_strategy(&Random, endpoints))
    }

    #[test]
    fn a_table_is_built_again_only_if_hashes_or_weights_differ() {
        let (a, b) = (("a", Endpoint::new(())), ("b", Endpoint::new(())));
        let sick = ("c", Endpoint::new(()).with_health(Health::unhealthy("down")));
        let heavy = ("b", Endpoint::new(()).with_weight(2));
        let mut memo = Memo::new();
        let first = memo.table(&order(&[a.clone(), b.clone()]), <[HashEntry]>::len);
        for same in [vec![b.clone(), a.clone()], vec![sick, a.clone(), b.clone()]] {
            assert!(Arc::ptr_eq(&first, &memo.table(&order(&same), |_| unreachable!())));
        }
        let other = memo.table(&order(&[a.clone(), heavy.clone()]), <[HashEntry]>::len);
        assert!(!Arc::ptr_eq(&first, &other));
        // Both are in use and kept. A table that is no longer in use is dropped.
        memo.table(&order(&[a.clone(), b.clone()]), |_| unreachable!());
        drop(first);
        memo.table(&order(&[a.clone(), heavy]), |_| unreachable!());
        assert_eq!(memo.0.len(), 1);
    }

    #[test]
    fn weight_zero_has_an_entry_only_if_all_weights_are_zero() {
        let endpoints = [0, 3, 0].map(|weight| Endpoint::new(()).with_weight(weight));
        let all = Candidates::for_strategy(&Random, ["a", "b", "c"].iter().zip(&endpoints));
        let weights = |candidates: Candidates| -> Vec<u32> {
            HashOrder::new(&candidates).entries.iter().map(|entry| entry.weight).collect()
        };
        assert_eq!(weights(all.admit(|_| true)), [3]);
        assert_eq!(weights(all.admit(|candidate| candidate.name() != "b")), [1, 1]);
    }

    #[test]
    fn a_label_replaces_the_name_and_equal_labels_are_ordered_by_name() {
        let labelled = |name| (name, Endpoint::new(()).with_metadata(LABEL, "x"));
        let order = order(&[labelled("b"), ("x", Endpoint::new(())), labelled("a")]);
        assert!(order.entries.iter().all(|entry| entry.hash == stable_hash("x")));
        let names = [0, 1, 2].map(|index| order.get(index).unwrap().name().to_owned());
        assert_eq!(names, ["a", "b", "x"]);
    }
}
