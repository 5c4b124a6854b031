use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use crate::sync::{Mutex, lock};

/// Which of many wakers were woken, so that one task can poll just those flows.
#[derive(Debug)]
pub(super) struct ReadyQueue<K> {
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    woken: VecDeque<Arc<Item<K>>>,
    /// The waker of the task that polls the flows.
    task: Option<Waker>,
}

/// What is woken.
#[derive(Debug)]
pub(super) struct Item<K> {
    pub(super) key: K,
    /// Tells it from an earlier item under the same key.
    pub(super) number: u64,
    is_woken: AtomicBool,
    /// The queue has the item while it is woken.
    queue: Weak<ReadyQueue<K>>,
}

/// How many items are taken at once, before other tasks get a turn.
const ITEMS: usize = 64;
/// How many flows or requests end at once by their time, before other tasks get a turn.
pub(super) const EXPIRIES: usize = 256;

impl<K: Send + Sync + 'static> ReadyQueue<K> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { woken: VecDeque::new(), task: None }) })
    }

    /// Returns the waker of an item.
    pub(super) fn waker(self: &Arc<Self>, key: K, number: u64) -> Waker {
        let (queue, is_woken) = (Arc::downgrade(self), AtomicBool::new(false));
        Waker::from(Arc::new(Item { key, number, is_woken, queue }))
    }

    /// Sets which task is woken, and appends the first items that were woken to `woken`, in order.
    /// Returns true if there are more: the task is not woken for those, and calls this again.
    pub(super) fn take(&self, task: &Waker, woken: &mut Vec<Arc<Item<K>>>) -> bool {
        let mut state = lock(&self.state);
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        let taken = state.woken.len().min(ITEMS);
        woken.extend(state.woken.drain(..taken));
        let has_more = !state.woken.is_empty();
        drop(state);
        // A wake-up from now on counts again: the item is polled after it.
        woken.iter().for_each(|item| item.is_woken.store(false, Ordering::SeqCst));
        has_more
    }
}

impl<K: Send + Sync + 'static> Wake for Item<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::SeqCst) {
            return;
        }
        // A relay that was dropped has no task to wake.
        let Some(queue) = self.queue.upgrade() else { return };
        let mut state = lock(&queue.state);
        state.woken.push_back(Arc::clone(self));
        // Only the first one needs to wake the task, and outside of the lock.
        let task = (state.woken.len() == 1).then(|| state.task.clone()).flatten();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn each_item_is_taken_once_for_each_time_that_it_is_polled() {
        let queue = ReadyQueue::new();
        let (a, b) = (queue.waker('a', 1), queue.waker('b', 2));
        let taken = || {
            let mut woken = Vec::new();
            queue.take(Waker::noop(), &mut woken);
            woken.iter().map(|item| (item.key, item.number)).collect::<Vec<_>>()
        };
        assert_eq!(taken(), []);
        b.wake_by_ref();
        a.wake_by_ref();
        b.wake_by_ref();
        assert_eq!(taken(), [('b', 2), ('a', 1)]);
        assert_eq!(taken(), []);
        b.wake_by_ref();
        assert_eq!(taken(), [('b', 2)]);
    }

    #[test]
    fn the_task_is_woken_once_for_all_items() {
        let count = Arc::new(Count::default());
        let queue = ReadyQueue::new();
        let items = [queue.waker((), 0), queue.waker((), 1)];
        for times in 1..3 {
            assert!(!queue.take(&Waker::from(Arc::clone(&count)), &mut Vec::new()));
            items.iter().for_each(Waker::wake_by_ref);
            items.iter().for_each(Waker::wake_by_ref);
            assert_eq!(count.0.load(Ordering::SeqCst), times);
        }
    }

    #[test]
    fn a_number_of_items_is_taken_at_once() {
        let queue = ReadyQueue::new();
        let items: Vec<_> = (0..ITEMS as u64 + 1).map(|number| queue.waker((), number)).collect();
        items.iter().for_each(Waker::wake_by_ref);
        let mut woken = Vec::new();
        assert!(queue.take(Waker::noop(), &mut woken), "one is left");
        // The first one goes behind those that wait.
        items[0].wake_by_ref();
        assert!(!queue.take(Waker::noop(), &mut woken));
        let numbers: Vec<_> = woken.iter().map(|item| item.number).collect();
        assert_eq!(numbers, Vec::from_iter((0..=ITEMS as u64).chain([0])));
    }

    #[test]
    fn a_woken_item_does_not_keep_the_queue() {
        let queue = ReadyQueue::new();
        let (item, alive) = (queue.waker((), 0), Arc::downgrade(&queue));
        item.wake_by_ref();
        assert_eq!((alive.strong_count(), Arc::weak_count(&queue)), (1, 2));
        drop(queue);
        assert_eq!(alive.strong_count(), 0);
        // The item is that of a socket which has gone too, as far as the relay knows.
        item.wake();
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
