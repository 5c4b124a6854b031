use std::{collections::BTreeMap, sync::Arc, task::Waker};

use crate::sync::{Mutex, lock};

/// The drivers that are to look again after a change: what is changed by one call may be a part of
/// several balancers' strategies.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Mutex<Registered>);

#[derive(Debug, Default)]
struct Registered {
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Wakers {
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut lock(&self.0).wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// One place among the [`Wakers`]. Dropping it takes its waker out again, so that drivers which are gone
/// leave nothing behind.
#[derive(Debug)]
pub(crate) struct Registration {
    wakers: Arc<Wakers>,
    id: u64,
}

impl Registration {
    pub(crate) fn new(wakers: &Arc<Wakers>) -> Self {
        let mut registered = lock(&wakers.0);
        registered.next_id += 1;
        Self { wakers: Arc::clone(wakers), id: registered.next_id }
    }

    /// Has `waker` woken at the next change. The caller looks for a change after it has registered.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut registered = lock(&self.wakers.0);
        if registered.wakers.get(&self.id).is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let replaced = registered.wakers.insert(self.id, waker.clone());
        // After the lock is released: the last waker of a task may drop what has registrations itself.
        drop(registered);
        drop(replaced);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let removed = lock(&self.wakers.0).wakers.remove(&self.id);
        // As in `register`: after the lock is released.
        drop(removed);
    }
}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use std::task::Wake;

    use super::*;

    /// As that of a task which owns a strategy.
    #[test]
    fn a_waker_may_own_a_registration() {
        struct Task(#[expect(dead_code, reason = "it is there to be dropped")] Registration);

        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        let wakers = Arc::new(Wakers::default());
        let registration = Registration::new(&wakers);
        for _ in 0..2 {
            registration.register(&Arc::new(Task(Registration::new(&wakers))).into());
        }
        drop(registration);
        assert!(lock(&wakers.0).wakers.is_empty());
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let wakers = Arc::new(Wakers::default());
        for _ in 0..3 {
            let registration = Registration::new(&wakers);
            registration.register(Waker::noop());
            registration.register(Waker::noop());
            assert_eq!(lock(&wakers.0).wakers.len(), 1);
        }
        assert!(lock(&wakers.0).wakers.is_empty());
    }
}
