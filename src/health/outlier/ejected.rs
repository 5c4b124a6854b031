use std::{
    collections::{BTreeSet, HashMap},
    task::{Context, Poll},
};

use tokio::time::Instant;

use crate::health::{
    passive::severity::Severity,
    stage::{members::Id, timer::Deadlines},
};

/// Who is out, and until when. One whose time is over is out still, until it is let back in.
#[derive(Debug, Default)]
pub(super) struct Ejected {
    by_id: HashMap<Id, (EjectionRank, Instant)>,
    /// Ordered by rank, and among equals by the time of return.
    by_rank: BTreeSet<(EjectionRank, Instant, Id)>,
    ends: Deadlines,
}

/// The order in which ejected endpoints are replaced by worse ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EjectionRank {
    /// Whether upstream calls the endpoint eligible. If not, its ejection makes no difference.
    pub(super) serves: bool,
    pub(super) severity: Severity,
}

impl Ejected {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Sends one away, or has one that is out stay longer. Its severity never falls meanwhile, so that
    /// endpoints don't replace each other in turns.
    pub(super) fn send(&mut self, id: Id, until: Instant, mut rank: EjectionRank) {
        if let Some((before, _)) = self.let_in(id) {
            rank.severity = rank.severity.max(before.severity);
        }
        self.by_id.insert(id, (rank, until));
        self.by_rank.insert((rank, until, id));
        self.ends.add(until, id);
    }

    pub(super) fn let_in(&mut self, id: Id) -> Option<(EjectionRank, Instant)> {
        let (rank, until) = self.by_id.remove(&id)?;
        self.by_rank.remove(&(rank, until, id));
        self.ends.cancel(until, id);
        Some((rank, until))
    }

    /// Changes the rank of an endpoint, if it is out.
    pub(super) fn change(&mut self, id: Id, change: impl FnOnce(&mut EjectionRank)) {
        if let Some((rank, until)) = self.by_id.get_mut(&id) {
            self.by_rank.remove(&(*rank, *until, id));
            change(rank);
            self.by_rank.insert((*rank, *until, id));
        }
    }

    /// The endpoint that is replaced first; the first eligible one if it `must_serve`.
    pub(super) fn least_bad(&self, must_serve: bool) -> Option<(Id, EjectionRank)> {
        let serving = || self.by_rank.iter().find(|(rank, ..)| rank.serves);
        let first = if must_serve { serving() } else { self.by_rank.first() };
        first.map(|&(rank, _, id)| (id, rank))
    }

    /// The next whose time is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Id> {
        self.ends.poll(cx)
    }
}
