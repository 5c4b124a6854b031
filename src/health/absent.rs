use std::{
    collections::{BTreeSet, HashMap},
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{members::Id, timer::Deadlines};

/// Who is out, and until when. One whose time is over is out still, until it is let back in.
#[derive(Debug, Default)]
pub(super) struct Absent {
    until: HashMap<Id, Instant>,
    in_order: BTreeSet<(Instant, Id)>,
    ends: Deadlines,
}

impl Absent {
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// Sends one away, or has one that is out stay longer.
    pub(super) fn send(&mut self, id: Id, until: Instant) {
        self.let_in(id);
        self.until.insert(id, until);
        self.in_order.insert((until, id));
        self.ends.add(until, id);
    }

    pub(super) fn let_in(&mut self, id: Id) {
        if let Some(until) = self.until.remove(&id) {
            self.in_order.remove(&(until, id));
            self.ends.cancel(until, id);
        }
    }

    /// Who is to return first.
    pub(super) fn first(&self) -> Option<Id> {
        self.in_order.first().map(|&(_, id)| id)
    }

    /// The next whose time is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Id> {
        self.ends.poll(cx)
    }
}
