use std::{
    collections::BTreeMap,
    fmt,
    hash::Hash,
    mem,
    sync::Arc,
    task::{Poll, Waker},
};

use futures::task::AtomicWaker;

use super::{
    BroadcastError,
    change_log::{ChangeLog, Cursor, Missing},
};
use crate::{
    discover::Update,
    sync::{Mutex, lock},
};

/// What the driver of a broadcast and its subscriptions share.
pub(super) struct Hub<K, T> {
    state: Mutex<State<K, T>>,
    /// Wakes the driver when all handles and subscriptions are dropped.
    pub(super) orphaned: Arc<AtomicWaker>,
}

struct State<K, T> {
    log: ChangeLog<K, T>,
    /// The subscriptions that wait for changes, by number.
    waiting: BTreeMap<u64, Waker>,
    subscriptions: u64,
    ended: bool,
}

impl<K, T> Hub<K, T> {
    pub(super) fn new() -> Self {
        let (log, waiting) = (ChangeLog::new(), BTreeMap::new());
        let state = State { log, waiting, subscriptions: 0, ended: false };
        Self { state: Mutex::new(state), orphaned: Arc::default() }
    }

    /// Returns the number and the place of a new subscription.
    pub(super) fn subscribe(&self) -> (u64, Cursor) {
        let mut state = lock(&self.state);
        state.subscriptions += 1;
        (state.subscriptions, state.log.cursor())
    }

    pub(super) fn unsubscribe(&self, subscription: u64) {
        let waker = lock(&self.state).waiting.remove(&subscription);
        drop(waker);
    }

    /// Records an error of the source. Subscriptions see it after [`wake`](Self::wake).
    pub(super) fn fail(&self, error: BroadcastError) {
        let before = lock(&self.state).log.fail(error);
        drop(before);
    }

    /// Records that there are no more changes, and tells the subscriptions.
    pub(super) fn end(&self) {
        lock(&self.state).ended = true;
        self.wake();
    }

    /// Wakes the subscriptions that wait.
    pub(super) fn wake(&self) {
        let waiting = mem::take(&mut lock(&self.state).waiting);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Hub<K, T> {
    /// Applies an update of the source. Subscriptions see it after [`wake`](Self::wake).
    pub(super) fn apply(&self, update: Update<K, T>) {
        let displaced = lock(&self.state).log.apply(update);
        drop(displaced);
    }

    /// Returns what the subscription lacks, and `None` if it has all and there are no more changes.
    pub(super) fn poll_missing(
        &self,
        subscription: u64,
        cursor: &mut Cursor,
        waker: &Waker,
    ) -> Poll<Option<Missing<K, T>>> {
        let mut state = lock(&self.state);
        if let Some(missing) = state.log.advance(cursor) {
            return Poll::Ready(Some(missing));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        // Registered under the lock that each change takes, so that no change is missed.
        let before = match state.waiting.get_mut(&subscription) {
            Some(known) if known.will_wake(waker) => None,
            _ => state.waiting.insert(subscription, waker.clone()),
        };
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl<K, T> Drop for Hub<K, T> {
    fn drop(&mut self) {
        self.orphaned.wake();
    }
}

impl<K, T> fmt::Debug for Hub<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Hub")
            .field("endpoints", &state.log.len())
            .field("waiting", &state.waiting.len())
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}
