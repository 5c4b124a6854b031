use std::sync::Arc;

use super::{
    hash_order::{HashOrder, Memoized},
    maglev::{LOOKUPS, MaglevTable},
    ring::{MAX_POINTS_VISITED, RingPoints},
};
use crate::{
    hash::mix,
    strategy::{
        Candidate, HashKey, Pick, PickContext, Rank, Rng,
        explain::{Observe, observed_pick},
    },
};

/// The picker of [`Rendezvous`](crate::strategy::Rendezvous), [`Maglev`](crate::strategy::Maglev)
/// and [`Ring`](crate::strategy::Ring).
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <Maglev<K> as Strategy>::Picker")]
pub struct HashPicker<K> {
    pub(super) key: Arc<K>,
    pub(super) order: HashOrder,
    pub(super) table: Table,
}

/// Finds the first candidates of a key without a look at all of them.
#[derive(Debug)]
pub(super) enum Table {
    /// No table: every pick is a draw among all candidates.
    Rendezvous,
    Maglev(Arc<Memoized<MaglevTable>>),
    Ring(Arc<Memoized<RingPoints>>),
}

impl<K> HashPicker<K> {
    #[inline]
    fn highest(
        &self,
        hash: u64,
        mut accepts: impl FnMut(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let first = match &self.table {
            Table::Rendezvous => return self.order.draw(hash, accepts),
            Table::Maglev(memo) => memo.table.index(hash),
            Table::Ring(memo) => memo.table.owners_from(hash).next(),
        };
        let first = self.order.get(first?)?;
        if accepts(first) { Some(first) } else { self.next(hash, accepts) }
    }

    /// Returns the highest-ranking accepted candidate after the first, which was not accepted.
    #[cold]
    fn next(&self, hash: u64, mut accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        let found = match &self.table {
            Table::Rendezvous => None,
            Table::Maglev(memo) => (1..LOOKUPS)
                .filter_map(|n| memo.table.index(mix(hash.wrapping_add(n))))
                .filter_map(|index| self.order.get(index))
                .find(|candidate| accepts(candidate)),
            Table::Ring(memo) => (memo.table.owners_from(hash).take(MAX_POINTS_VISITED))
                .filter_map(|index| self.order.get(index))
                .find(|candidate| accepts(candidate)),
        };
        // The table does not lead to every candidate in a bounded number of steps. The draw does.
        found.or_else(|| self.order.draw(hash, accepts))
    }

    /// Returns the highest-ranking candidate that the context accepts, or else one that has room.
    #[cold]
    fn pick_accepted(&self, hash: u64, context: &PickContext<'_>) -> Option<&Candidate> {
        self.highest(hash, |candidate| context.accepts(candidate))
            .or_else(|| self.highest(hash, |candidate| context.has_room(candidate)))
    }
}

impl<K: HashKey<Req>, Req> Rank<Req> for HashPicker<K> {
    #[inline]
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64 {
        match self.key.hash(request) {
            Some(hash) => mix(hash),
            None => rng.bits(),
        }
    }

    #[inline]
    fn highest(&self, hash: u64, accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        self.highest(hash, accepts)
    }
}

/// The number of ranks that an explanation shows.
const EXPLAINED_RANKS: usize = 3;

impl<K> HashPicker<K> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        K: HashKey<Req>,
    {
        let hash = self.hash(request, context.rng());
        self.explain_ranks(request, hash, observer);
        // Nearly always the first is accepted, so the search for another stays out of line.
        let first = self.highest(hash, |_| true)?;
        if context.accepts(first) { Some(first) } else { self.pick_accepted(hash, context) }
    }

    /// Shows which endpoints would get the key, the first and those after it.
    #[inline]
    fn explain_ranks<Req, O: Observe>(&self, request: &Req, hash: u64, observer: &mut O)
    where
        K: HashKey<Req>,
    {
        if !O::ACTIVE {
            return;
        }
        observer.step(match self.table {
            Table::Rendezvous => "rendezvous",
            Table::Maglev(_) => "maglev",
            Table::Ring(_) => "ring",
        });
        observer.say(|| match self.key.hash(request) {
            Some(key) => format!("the key's hash is {key:#x}, the first in its rank wins"),
            None => "the request has no key, a random one decides".to_owned(),
        });
        let mut ranked: Vec<&Candidate> = Vec::new();
        for rank in 1..=EXPLAINED_RANKS {
            let is_new = |one: &Candidate| !ranked.iter().any(|other| std::ptr::eq(*other, one));
            let Some(next) = self.highest(hash, is_new) else { break };
            observer.compare(next, || rank as f64);
            ranked.push(next);
        }
    }
}

impl<K: HashKey<Req>, Req> Pick<Req> for HashPicker<K> {
    observed_pick!(Req);
}
