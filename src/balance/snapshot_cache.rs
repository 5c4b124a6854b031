//! Snapshots that clones of a balancer keep, so that a request need not load one.
//!
//! A load takes about 75 instructions, because the publisher must see who reads; a kept snapshot
//! takes two atomic operations on a word that no other thread uses. An idle clone must not keep
//! removed endpoints and their connections alive. So the clone has only a weak reference: the
//! strong one is with the balancer, which drops it when it publishes.

use std::sync::{Arc, TryLockError, Weak};

use arc_swap::Guard;

use super::{shared::Shared, snapshot::Snapshot};
use crate::sync::{Mutex, lock};

/// The number of calls after which a clone keeps snapshots. A clone for one request, as servers
/// make them, allocates nothing.
const CALLS_BEFORE_KEEPING: u16 = 8;

/// The most clones that keep snapshots: to publish takes time in proportion to their number.
const MAX_KEPT: usize = 1024;

/// The number of calls after which a refused clone asks again. A refusal may search all kept
/// snapshots, so this spreads the search over as many calls.
const CALLS_AFTER_REFUSAL: u16 = MAX_KEPT as u16;

/// A snapshot that is kept for one clone. Not the snapshot itself, whose references all clones
/// would count on one cache line.
pub(super) struct Kept<S, P>(Arc<Snapshot<S, P>>);

/// What one clone keeps. A clone of it keeps nothing at first.
pub(super) struct SnapshotCache<S, P> {
    kept: Weak<Kept<S, P>>,
    /// The number of loads before the clone asks to keep a snapshot.
    loads_left: u16,
}

/// The newest snapshot, for one request.
pub(super) enum Current<S, P> {
    Kept(Arc<Kept<S, P>>),
    Loaded(Guard<Arc<Snapshot<S, P>>>),
}

impl<S, P> SnapshotCache<S, P> {
    pub(super) fn new() -> Self {
        Self { kept: Weak::new(), loads_left: CALLS_BEFORE_KEEPING }
    }

    /// Returns the newest snapshot, if it is kept.
    #[inline(always)]
    pub(super) fn kept(&self) -> Option<Current<S, P>> {
        Some(Current::Kept(self.kept.upgrade()?))
    }

    /// Returns the newest snapshot. Keeps it for later calls after some.
    pub(super) fn load(&mut self, shared: &Shared<S, P>) -> Current<S, P> {
        if self.loads_left > 0 {
            self.loads_left -= 1;
        } else {
            match shared.kept.add(|| shared.snapshot.load_full()) {
                Ok(kept) => {
                    self.kept = Arc::downgrade(&kept);
                    return Current::Kept(kept);
                }
                Err(loads) => self.loads_left = loads,
            }
        }
        Current::Loaded(shared.snapshot.load())
    }
}

impl<S, P> Current<S, P> {
    #[inline(always)]
    pub(super) fn snapshot(&self) -> &Snapshot<S, P> {
        match self {
            Self::Kept(kept) => &kept.0,
            Self::Loaded(snapshot) => snapshot,
        }
    }
}

/// The snapshots that are kept for all clones.
pub(super) struct KeptSnapshots<S, P>(Mutex<Vec<Arc<Kept<S, P>>>>);

impl<S, P> Default for KeptSnapshots<S, P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S, P> KeptSnapshots<S, P> {
    /// Keeps one more snapshot, unless there are too many, or another thread changes them: a
    /// request does not wait for a lock. Then it returns after how many loads to ask again.
    fn add(&self, newest: impl FnOnce() -> Arc<Snapshot<S, P>>) -> Result<Arc<Kept<S, P>>, u16> {
        let mut all = match self.0.try_lock() {
            Ok(all) => all,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(CALLS_BEFORE_KEEPING),
        };
        if all.len() == all.capacity() {
            // Those of dropped clones go before the list grows.
            all.retain(|kept| Arc::weak_count(kept) > 0);
        }
        if all.len() >= MAX_KEPT {
            return Err(CALLS_AFTER_REFUSAL);
        }
        // Loaded under the lock: if the driver has published a newer one, it has still to clear.
        let kept = Arc::new(Kept(newest()));
        all.push(Arc::clone(&kept));
        Ok(kept)
    }

    /// Drops them all, after a newer snapshot has been published. One that a request uses lives
    /// until its pick is over.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *lock(&self.0));
        // Not under the lock: the services of removed endpoints may take time to drop.
        drop(all);
    }
}
