use std::collections::BTreeSet;

/// The requests that have declined an endpoint since the last change, and have not picked it since.
///
/// Requests decline nearly in the order of their ids, so a limit and two sets of exceptions are
/// enough. An id that is in neither set counts by its side of the limit.
#[derive(Debug, Default)]
pub(super) struct Declined {
    /// All requests up to this id have declined, except those in `again`.
    pub(super) up_to: u64,
    /// The requests above `up_to` that have declined.
    pub(super) above: BTreeSet<u64>,
    /// The requests up to `up_to` that want the endpoint after all.
    pub(super) again: BTreeSet<u64>,
}

impl Declined {
    pub(super) fn contains(&self, id: u64) -> bool {
        self.above.contains(&id) || (id <= self.up_to && !self.again.contains(&id))
    }

    pub(super) fn add(&mut self, id: u64) {
        self.again.remove(&id);
        if id > self.up_to {
            self.above.insert(id);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if !self.above.remove(&id) && id <= self.up_to {
            self.again.insert(id);
        }
    }
}
