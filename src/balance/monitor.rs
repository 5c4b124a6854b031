use std::{fmt, sync::Weak};

use super::{Event, Status, shared::Shared};

/// Reads the status of a balancer without keeping it alive, whatever the types of its endpoints and
/// its strategy; [`Balancer::monitor`](super::Balancer::monitor) returns one.
#[derive(Clone)]
pub struct Monitor {
    balancer: Weak<dyn Monitored>,
}

/// What a monitor reads.
pub(super) trait Monitored: Send + Sync {
    fn status(&self) -> Status;
    fn events(&self) -> Vec<Event>;
}

impl<S: Send + Sync, P: Send + Sync> Monitored for Shared<S, P> {
    fn status(&self) -> Status {
        self.status()
    }

    fn events(&self) -> Vec<Event> {
        self.events()
    }
}

impl Monitor {
    pub(super) fn new(balancer: Weak<dyn Monitored>) -> Self {
        Self { balancer }
    }

    /// Returns the address of the balancer, which no other has while the monitor exists.
    pub(crate) fn address(&self) -> *const () {
        self.balancer.as_ptr().cast()
    }

    /// Returns the status as [`Balancer::status`](super::Balancer::status) does; `None` once the
    /// last clone of the balancer is dropped.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        Some(self.balancer.upgrade()?.status())
    }

    /// Returns the latest changes as [`Balancer::events`](super::Balancer::events) does; `None`
    /// once the last clone of the balancer is dropped.
    #[must_use]
    pub fn events(&self) -> Option<Vec<Event>> {
        Some(self.balancer.upgrade()?.events())
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("status", &self.status()).finish()
    }
}
