use std::sync::{Arc, Weak};

use super::log2::neg_log2;
use crate::{
    hash::{mix, stable_hash},
    strategy::{Candidate, Candidates},
};

/// The candidates in an order of their own, whatever order they came in: by the hashes of their
/// names. Hash tables speak of a candidate by its place in it.
#[derive(Debug)]
pub(crate) struct HashOrder {
    candidates: Candidates,
    pub(crate) seats: Arc<[HashEntry]>,
    /// The candidates' indexes, in the order of the seats.
    indexes: Box<[u32]>,
    equal_weights: bool,
}

/// What of a candidate decides which keys are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashEntry {
    pub(crate) hash: u64,
    pub(crate) weight: u32,
}

impl HashEntry {
    /// Its ticket in the draw for a hash, by weight.
    #[inline]
    pub(crate) fn draw(&self, hash: u64) -> Ticket {
        let lot = mix(hash ^ self.hash);
        Ticket { cost: neg_log2(lot), weight: self.weight, lot }
    }
}

/// The label that stands in for an endpoint's name.
const LABEL: &str = "hash_key";

impl HashOrder {
    pub(crate) fn new(candidates: &Candidates) -> Self {
        // Of weight 0 are only those that a panic rule lets in.
        let all_zero = candidates.iter().all(|candidate| candidate.weight() == 0);
        let seat = |candidate: &Candidate| HashEntry {
            hash: stable_hash(candidate.metadata().get(LABEL).unwrap_or_else(|| candidate.name())),
            weight: candidate.weight().max(u32::from(all_zero)),
        };
        let mut placed: Vec<_> = candidates.iter().map(seat).zip(0_u32..).collect();
        placed.retain(|(seat, _)| seat.weight > 0);
        let name = |index: u32| candidates.get(index as usize).map(Candidate::name);
        placed.sort_unstable_by(|(a, index_a), (b, index_b)| {
            a.hash.cmp(&b.hash).then_with(|| name(*index_a).cmp(&name(*index_b)))
        });
        Self {
            candidates: candidates.clone(),
            seats: placed.iter().map(|&(seat, _)| seat).collect(),
            indexes: placed.iter().map(|&(_, index)| index).collect(),
            equal_weights: candidates.have_equal_weights(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&Candidate> {
        self.candidates.get(*self.indexes.get(place)? as usize)
    }

    /// Of the candidates for which `accepts` holds, the one that wins the draw for a hash, by weight.
    #[inline]
    pub(crate) fn draw(
        &self,
        hash: u64,
        accepts: impl FnMut(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        if self.equal_weights {
            self.win(accepts, |seat| Ticket { cost: 0, weight: 1, lot: mix(hash ^ seat.hash) })
        } else {
            self.win(accepts, |seat| seat.draw(hash))
        }
    }

    #[inline]
    fn win(
        &self,
        mut accepts: impl FnMut(&Candidate) -> bool,
        ticket: impl Fn(&HashEntry) -> Ticket,
    ) -> Option<&Candidate> {
        let mut best: Option<(Ticket, &Candidate)> = None;
        for (place, seat) in self.seats.iter().enumerate() {
            let ticket = ticket(seat);
            if best.is_some_and(|(best, _)| !ticket.beats(best)) {
                continue;
            }
            if let Some(candidate) = self.get(place).filter(|candidate| accepts(candidate)) {
                best = Some((ticket, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }
}

/// What a candidate has drawn for a hash. The least cost for its weight wins: costs are distributed
/// exponentially, so chances are those of the weights.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    cost: u64,
    weight: u32,
    /// Decides if costs are equal, as it decides among equal weights: it falls as the cost rises.
    lot: u64,
}

impl Ticket {
    #[inline]
    pub(crate) fn beats(self, other: Self) -> bool {
        let ours = u128::from(self.cost) * u128::from(other.weight);
        let its = u128::from(other.cost) * u128::from(self.weight);
        ours < its || (ours == its && self.lot > other.lot)
    }
}

/// The tables in use and what they were built from, so that a change which leaves that alone (a
/// label, an endpoint that may get nothing anyway) doesn't build the same again.
///
/// There may be several: a strategy that wraps ours asks for a picker over each of its parts.
#[derive(Clone, Debug)]
pub(crate) struct Memo<T>(Vec<Weak<Memoized<T>>>);

/// A table, and the seats it was built from.
#[derive(Debug)]
pub(crate) struct Memoized<T> {
    seats: Arc<[HashEntry]>,
    pub(crate) table: T,
}

impl<T> Memo<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn table(
        &mut self,
        places: &HashOrder,
        build: impl FnOnce(&[HashEntry]) -> T,
    ) -> Arc<Memoized<T>> {
        self.0.retain(|built| built.strong_count() > 0);
        let mut in_use = self.0.iter().filter_map(Weak::upgrade);
        if let Some(same) = in_use.find(|built| built.seats == places.seats) {
            return same;
        }
        let seats = Arc::clone(&places.seats);
        let built = Arc::new(Memoized { table: build(&seats), seats });
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

    fn places(endpoints: &[(&str, Endpoint<()>)]) -> HashOrder {
        let endpoints = endpoints.iter().map(|(name, endpoint)| (name, endpoint));
        HashOrder::new(&Candidates::for_strategy(&Random, endpoints))
    }

    #[test]
    fn a_table_is_built_again_only_if_hashes_or_weights_differ() {
        let (a, b) = (("a", Endpoint::new(())), ("b", Endpoint::new(())));
        let sick = ("c", Endpoint::new(()).with_health(Health::unhealthy("down")));
        let heavy = ("b", Endpoint::new(()).with_weight(2));
        let mut memo = Memo::new();
        let first = memo.table(&places(&[a.clone(), b.clone()]), <[HashEntry]>::len);
        for same in [vec![b.clone(), a.clone()], vec![sick, a.clone(), b.clone()]] {
            assert!(Arc::ptr_eq(&first, &memo.table(&places(&same), |_| unreachable!())));
        }
        let other = memo.table(&places(&[a.clone(), heavy.clone()]), <[HashEntry]>::len);
        assert!(!Arc::ptr_eq(&first, &other));
        // Both are in use and remembered; what is in use no more is forgotten.
        memo.table(&places(&[a.clone(), b.clone()]), |_| unreachable!());
        drop(first);
        memo.table(&places(&[a.clone(), heavy]), |_| unreachable!());
        assert_eq!(memo.0.len(), 1);
    }

    #[test]
    fn weight_zero_has_a_place_only_among_its_like() {
        let endpoints = [0, 3, 0].map(|weight| Endpoint::new(()).with_weight(weight));
        let all = Candidates::for_strategy(&Random, ["a", "b", "c"].iter().zip(&endpoints));
        let weights = |candidates: Candidates| -> Vec<u32> {
            HashOrder::new(&candidates).seats.iter().map(|seat| seat.weight).collect()
        };
        assert_eq!(weights(all.admit(|_| true)), [3]);
        assert_eq!(weights(all.admit(|candidate| candidate.name() != "b")), [1, 1]);
    }

    #[test]
    fn a_label_stands_in_for_the_name_and_equal_ones_are_ordered_by_name() {
        let labelled = |name| (name, Endpoint::new(()).with_metadata(LABEL, "x"));
        let places = places(&[labelled("b"), ("x", Endpoint::new(())), labelled("a")]);
        assert!(places.seats.iter().all(|seat| seat.hash == stable_hash("x")));
        let names = [0, 1, 2].map(|place| places.get(place).unwrap().name().to_owned());
        assert_eq!(names, ["a", "b", "x"]);
    }
}
