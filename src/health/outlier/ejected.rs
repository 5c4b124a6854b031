use std::{
    collections::{BTreeSet, HashMap},
    task::{Context, Poll},
};

use tokio::time::Instant;

use crate::health::{
    passive::severity::Severity,
    stage::{members::Id, timer::Deadlines},
};

/// The ejected endpoints, those on trial included, and when their ejections end.
#[derive(Debug, Default)]
pub(super) struct Ejected {
    by_id: HashMap<Id, (EjectionRank, Instant)>,
    /// Ordered by rank, and within a rank by the end of the ejection.
    by_rank: BTreeSet<(EjectionRank, Instant, Id)>,
    ends: Deadlines,
}

/// The order in which ejected endpoints are replaced by worse ones, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EjectionRank {
    /// Whether upstream calls the endpoint eligible. If not, its ejection makes no difference.
    pub(super) is_eligible: bool,
    pub(super) severity: Severity,
}

impl EjectionRank {
    /// True if an endpoint of `severity` replaces one of this rank.
    pub(super) fn is_replaced_by(self, severity: Severity) -> bool {
        self.severity < severity || (self.severity == severity && !self.is_eligible)
    }
}

impl Ejected {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds an endpoint, or prolongs its ejection. The severity of an ejected endpoint never falls,
    /// so that endpoints do not replace each other in turns.
    pub(super) fn insert(&mut self, id: Id, until: Instant, mut rank: EjectionRank) {
        if let Some((previous, _)) = self.remove(id) {
            rank.severity = rank.severity.max(previous.severity);
        }
        self.by_id.insert(id, (rank, until));
        self.by_rank.insert((rank, until, id));
        self.ends.add(until, id);
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<(EjectionRank, Instant)> {
        let (rank, until) = self.by_id.remove(&id)?;
        self.by_rank.remove(&(rank, until, id));
        self.ends.cancel(until, id);
        Some((rank, until))
    }

    /// Changes the rank of an endpoint, if it is ejected.
    pub(super) fn change_rank(&mut self, id: Id, change: impl FnOnce(&mut EjectionRank)) {
        if let Some((rank, until)) = self.by_id.get_mut(&id) {
            self.by_rank.remove(&(*rank, *until, id));
            change(rank);
            self.by_rank.insert((*rank, *until, id));
        }
    }

    /// Returns the endpoint that is replaced first, or the first eligible one if
    /// `must_be_eligible`.
    pub(super) fn least_severe(&self, must_be_eligible: bool) -> Option<(Id, EjectionRank)> {
        let eligible = || self.by_rank.iter().find(|(rank, ..)| rank.is_eligible);
        let first = if must_be_eligible { eligible() } else { self.by_rank.first() };
        first.map(|&(rank, _, id)| (id, rank))
    }

    /// Returns the next endpoint whose ejection time is over. It stays ejected until it is removed.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Id> {
        self.ends.poll(cx)
    }
}
