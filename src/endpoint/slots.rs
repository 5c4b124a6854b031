use std::sync::Arc;

use super::WaitQueue;
use crate::sync::{AtomicU32, Ordering};

/// The bound on how many requests one balancer has in flight at one endpoint.
#[derive(Debug)]
pub(crate) struct Slots {
    used: AtomicU32,
    limit: u32,
    queue: Arc<WaitQueue>,
}

impl Slots {
    pub(crate) fn new(limit: u32, queue: Arc<WaitQueue>) -> Self {
        Self { used: AtomicU32::new(0), limit, queue }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::SeqCst) < self.limit
    }

    pub(crate) fn try_acquire(&self) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                (used < self.limit).then(|| used + 1)
            })
            .is_ok()
    }

    pub(crate) fn release(&self) {
        self.used.fetch_sub(1, Ordering::SeqCst);
        self.queue.released();
    }
}

#[cfg(all(test, tower_lb_loom))]
mod tests {
    use std::task::{Wake, Waker};

    use loom::{
        sync::{Arc as LoomArc, Condvar, Mutex},
        thread,
    };

    use super::*;
    use crate::endpoint::{Ticket, Watch};

    /// Explores all interleavings with up to three preemptions, where bugs of this kind show.
    fn model(threads: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(threads);
    }

    /// Parks a loom thread until it is woken, as an executor would.
    #[derive(Default)]
    struct Parker {
        woken: Mutex<bool>,
        bell: Condvar,
    }

    struct Unpark(LoomArc<Parker>);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            *self.0.woken.lock().unwrap() = true;
            self.0.bell.notify_one();
        }
    }

    impl Parker {
        fn park(&self) {
            let mut woken = self.woken.lock().unwrap();
            while !*woken {
                woken = self.bell.wait(woken).unwrap();
            }
            *woken = false;
        }
    }

    fn acquire(slots: &Slots, queue: &Arc<WaitQueue>) {
        if !queue.is_queued() && slots.try_acquire() {
            return;
        }
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        let ticket = Ticket::join(Arc::clone(queue), &waker);
        loop {
            if ticket.rearm(&waker) && slots.try_acquire() {
                return;
            }
            parker.park();
        }
    }

    /// Every waiter gets its slot in every interleaving (loom reports a lost wake-up as a deadlock),
    /// and never do two hold the one slot.
    #[test]
    fn no_wake_up_is_lost_and_no_slot_given_twice() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            let holders = Arc::new(AtomicU32::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (slots, queue) = (Arc::clone(&slots), Arc::clone(&queue));
                    let holders = Arc::clone(&holders);
                    thread::spawn(move || {
                        acquire(&slots, &queue);
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        slots.release();
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(slots.has_room());
            assert!(!queue.is_queued());
        });
    }

    /// A waiter that gives up while it is being woken hands the slot on.
    #[test]
    fn a_cancelled_waiter_passes_its_turn_on() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(slots.try_acquire());
            let quitter = Ticket::join(Arc::clone(&queue), Waker::noop());
            let waiter = {
                let (slots, queue) = (Arc::clone(&slots), Arc::clone(&queue));
                thread::spawn(move || acquire(&slots, &queue))
            };
            let canceller = thread::spawn(move || drop(quitter));
            slots.release();
            canceller.join().unwrap();
            waiter.join().unwrap();
        });
    }

    /// Waits as `poll_ready` does: registers, then looks.
    fn watch_until(queue: &Arc<WaitQueue>, done: impl Fn() -> bool) {
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        let watch = Watch::new(Arc::clone(queue));
        loop {
            watch.register(&waker);
            if done() {
                return;
            }
            parker.park();
        }
    }

    /// Who watches for room is told when a slot is given back.
    #[test]
    fn a_watcher_sees_the_slot_that_is_given_back() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(slots.try_acquire());
            let watcher = {
                let slots = Arc::clone(&slots);
                thread::spawn(move || watch_until(&queue, || slots.has_room()))
            };
            slots.release();
            watcher.join().unwrap();
        });
    }

    /// Who watches, and who stands in line, are told when a snapshot is published.
    #[test]
    fn everybody_sees_a_snapshot_that_is_published() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let published = Arc::new(AtomicU32::new(0));
            let watcher = {
                let (queue, published) = (Arc::clone(&queue), Arc::clone(&published));
                thread::spawn(move || {
                    watch_until(&queue, || published.load(Ordering::SeqCst) == 1);
                })
            };
            let parker = LoomArc::new(Parker::default());
            let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
            let ticket = Ticket::join(Arc::clone(&queue), &waker);
            let publisher = {
                let (queue, published) = (Arc::clone(&queue), Arc::clone(&published));
                thread::spawn(move || {
                    published.store(1, Ordering::SeqCst);
                    queue.changed();
                })
            };
            while !(ticket.rearm(&waker) && published.load(Ordering::SeqCst) == 1) {
                parker.park();
            }
            drop(ticket);
            publisher.join().unwrap();
            watcher.join().unwrap();
        });
    }
}
