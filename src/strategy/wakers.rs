use std::{collections::BTreeMap, sync::Arc, task::Waker};

use crate::sync::{Mutex, lock};

/// The drivers to wake after a change of state that the strategies of several balancers may share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    registered: BTreeMap<u64, Waker>,
}

impl Wakers {
    /// Returns a registration for one strategy.
    pub(crate) fn registration(&self) -> Registration {
        let mut state = lock(&self.0);
        state.next_id += 1;
        Registration { wakers: self.clone(), id: state.next_id }
    }

    /// Wakes the drivers that have registered since the last call.
    pub(crate) fn wake(&self) {
        let registered = std::mem::take(&mut lock(&self.0).registered);
        registered.into_values().for_each(Waker::wake);
    }
}

/// Registers the driver of one strategy with [`Wakers`], and removes it on drop. A clone registers
/// another driver.
///
/// A waker keeps the memory of its task. Without the removal, a handle that outlives its balancers
/// would keep the tasks of all their drivers until the next change.
#[derive(Debug)]
pub(crate) struct Registration {
    wakers: Wakers,
    id: u64,
}

impl Registration {
    /// Wakes the task of `waker` at the next change.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut state = lock(&self.wakers.0);
        if state.registered.get(&self.id).is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let replaced = state.registered.insert(self.id, waker.clone());
        // Dropping a waker may run code of the runtime, which may take this lock: unlock first.
        drop(state);
        drop(replaced);
    }
}

impl Clone for Registration {
    fn clone(&self) -> Self {
        self.wakers.registration()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let removed = lock(&self.wakers.0).registered.remove(&self.id);
        // After the lock is released, as in `register`.
        drop(removed);
    }
}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_registration_is_woken_once_for_each_time_that_it_registers() {
        let (wakers, counter) = (Wakers::default(), Arc::new(Counter::default()));
        let first = wakers.registration();
        let second = first.clone();
        let waker = Waker::from(Arc::clone(&counter));
        for registration in [&first, &second, &first] {
            registration.register(&waker);
        }
        wakers.wake();
        assert_eq!(counter.0.load(Ordering::SeqCst), 2);
        wakers.wake();
        assert_eq!(counter.0.load(Ordering::SeqCst), 2, "it has not registered again");
    }

    #[test]
    fn the_latest_waker_of_a_registration_is_the_only_one_kept() {
        let wakers = Wakers::default();
        let registration = wakers.registration();
        let [first, second] = [(); 2].map(|()| Arc::new(Counter::default()));
        registration.register(&Arc::clone(&first).into());
        registration.register(&Arc::clone(&second).into());
        assert_eq!(Arc::strong_count(&first), 1);
        wakers.wake();
        assert_eq!([&first, &second].map(|counter| counter.0.load(Ordering::SeqCst)), [0, 1]);
    }

    #[test]
    fn a_dropped_registration_keeps_no_waker() {
        let (wakers, counter) = (Wakers::default(), Arc::new(Counter::default()));
        for _ in 0..100 {
            wakers.registration().register(&Arc::clone(&counter).into());
        }
        assert_eq!(Arc::strong_count(&counter), 1);
        assert!(lock(&wakers.0).registered.is_empty());
    }

    /// Dropping such a waker drops a registration, as it does with a task that owns a strategy.
    #[test]
    fn a_waker_may_own_a_registration() {
        struct Owner(#[expect(dead_code, reason = "held to be dropped")] Registration);

        impl Wake for Owner {
            fn wake(self: Arc<Self>) {}
        }

        let wakers = Wakers::default();
        let registration = wakers.registration();
        for _ in 0..2 {
            registration.register(&Arc::new(Owner(wakers.registration())).into());
        }
        drop(registration);
        assert!(lock(&wakers.0).registered.is_empty());
    }
}
