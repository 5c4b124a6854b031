use std::{collections::BTreeMap, sync::Arc, task::Waker};

use crate::sync::{AtomicUsize, Mutex, Ordering, between_seq_cst, lock};

/// Where requests wait for a slot, in order of arrival, and where `poll_ready` watches for one.
///
/// Touched only when something is full or missing: the path of a request that finds room reads two
/// atomics of it at the most.
///
/// A wake-up is never lost: a waiter joins first and tries afterwards, a slot is given back first and
/// the counts are read afterwards (all sequentially consistent), and whoever leaves the line wakes
/// the next in it.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    state: Mutex<State>,
    queued: AtomicUsize,
    watching: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// `None`: woken, and not yet back.
    line: BTreeMap<u64, Option<Waker>>,
    watchers: BTreeMap<u64, Waker>,
}

impl WaitQueue {
    /// True if a request is in line, so that a new one must not overtake it.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::SeqCst) > 0
    }

    /// A slot has become free.
    pub(crate) fn released(&self) {
        between_seq_cst();
        if self.is_queued() {
            self.wake_next();
        } else if self.watching.load(Ordering::SeqCst) > 0 {
            self.wake_watchers();
        }
    }

    /// The endpoints have changed: everybody looks again.
    pub(crate) fn changed(&self) {
        let wakers: Vec<_> = {
            let mut state = lock(&self.state);
            let watchers = std::mem::take(&mut state.watchers);
            self.watching.store(0, Ordering::SeqCst);
            state.line.values_mut().filter_map(Option::take).chain(watchers.into_values()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wake_next(&self) {
        let waker = lock(&self.state).line.values_mut().find_map(Option::take);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wake_watchers(&self) {
        let watchers = {
            let mut state = lock(&self.state);
            self.watching.store(0, Ordering::SeqCst);
            std::mem::take(&mut state.watchers)
        };
        watchers.into_values().for_each(Waker::wake);
    }

    fn leave(&self, id: u64) {
        let emptied = {
            let mut state = lock(&self.state);
            state.line.remove(&id);
            self.queued.store(state.line.len(), Ordering::SeqCst);
            state.line.is_empty()
        };
        if emptied {
            self.wake_watchers();
        } else {
            self.wake_next();
        }
    }
}

/// A place in line. Dropping it gives the place up and lets the next one try.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<WaitQueue>,
    id: u64,
}

impl Ticket {
    /// Joins at the end of the line. The holder must try once after joining.
    pub(crate) fn join(queue: Arc<WaitQueue>, waker: &Waker) -> Self {
        let id = {
            let mut state = lock(&queue.state);
            let id = state.next_id;
            state.next_id += 1;
            state.line.insert(id, Some(waker.clone()));
            queue.queued.store(state.line.len(), Ordering::SeqCst);
            id
        };
        between_seq_cst();
        Self { queue, id }
    }

    /// Asks to be woken again. True if it is this ticket's turn to try: it was woken, or is first.
    pub(crate) fn rearm(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.queue.state);
        let first = state.line.keys().next() == Some(&self.id);
        let Some(place) = state.line.get_mut(&self.id) else {
            return true;
        };
        let woken = place.is_none();
        *place = Some(waker.clone());
        first || woken
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.leave(self.id);
    }
}

/// Watches for room or for a change of the endpoints without standing in line.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Arc<WaitQueue>,
    id: u64,
}

impl Watch {
    pub(crate) fn new(queue: Arc<WaitQueue>) -> Self {
        let id = {
            let mut state = lock(&queue.state);
            state.next_id += 1;
            state.next_id - 1
        };
        Self { queue, id }
    }

    /// Registers for the next wake-up. The holder must look once after registering.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut state = lock(&self.queue.state);
        state.watchers.insert(self.id, waker.clone());
        self.queue.watching.store(state.watchers.len(), Ordering::SeqCst);
        drop(state);
        between_seq_cst();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.watchers.remove(&self.id);
        self.queue.watching.store(state.watchers.len(), Ordering::SeqCst);
    }
}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(std::sync::atomic::AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn waker() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), counter.into())
    }

    fn wakes(counter: &Counter) -> usize {
        counter.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    #[test]
    fn slots_go_to_waiters_in_order_of_arrival() {
        let queue = Arc::new(WaitQueue::default());
        let ((a, waker_a), (b, waker_b)) = (waker(), waker());
        let first = Ticket::join(Arc::clone(&queue), &waker_a);
        let second = Ticket::join(Arc::clone(&queue), &waker_b);

        queue.released();
        assert_eq!((wakes(&a), wakes(&b)), (1, 0));
        assert!(!second.rearm(&waker_b), "not its turn");
        assert!(first.rearm(&waker_a));
        drop(first);
        assert_eq!(wakes(&b), 1, "whoever leaves wakes the next");
        drop(second);
        assert!(!queue.is_queued());
    }

    #[test]
    fn a_woken_waiter_that_is_dropped_passes_the_slot_on() {
        let queue = Arc::new(WaitQueue::default());
        let ((_, waker_a), (b, waker_b)) = (waker(), waker());
        let first = Ticket::join(Arc::clone(&queue), &waker_a);
        let _second = Ticket::join(Arc::clone(&queue), &waker_b);
        queue.released();
        drop(first);
        assert_eq!(wakes(&b), 1);
    }

    #[test]
    fn watchers_are_woken_when_nobody_is_in_line() {
        let queue = Arc::new(WaitQueue::default());
        let ((a, waker_a), (b, waker_b)) = (waker(), waker());
        let watch = Watch::new(Arc::clone(&queue));
        watch.register(&waker_a);
        let ticket = Ticket::join(Arc::clone(&queue), &waker_b);
        queue.released();
        assert_eq!((wakes(&a), wakes(&b)), (0, 1), "those in line come first");
        drop(ticket);
        assert_eq!(wakes(&a), 1);
        watch.register(&waker_a);
        drop(watch);
        queue.released();
        assert_eq!(wakes(&a), 1, "a dropped watch is forgotten");
    }
}
