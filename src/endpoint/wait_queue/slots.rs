use std::sync::Arc;

use super::WaitQueue;
use crate::sync::{AtomicU32, Ordering, between_seq_cst};

/// Limits the requests that one balancer has in flight at one endpoint.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The slots of requests in flight, and those offered to queued requests.
    used: AtomicU32,
    limit: u32,
    id: u64,
    queue: Arc<WaitQueue>,
}

impl Slots {
    pub(crate) fn new(limit: u32, queue: Arc<WaitQueue>) -> Self {
        Self { used: AtomicU32::new(0), limit, id: queue.new_id(), queue }
    }

    /// Returns the id by which the queue identifies these slots.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.used.load(Ordering::SeqCst) < self.limit
    }

    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                (used < self.limit).then(|| used + 1)
            })
            .is_ok()
    }

    /// Hands a slot over to a queued request, or else frees it.
    ///
    /// A slot that is handed over is never free in between, so that a newcomer cannot take it
    /// first.
    #[inline]
    pub(crate) fn release(self: &Arc<Self>) {
        if self.queue.is_queued() {
            return self.queue.hand_over(self);
        }
        self.free();
        between_seq_cst();
        if !self.queue.is_queued() {
            self.queue.freed();
        } else if self.try_acquire() {
            // A request has joined since the first check. It may have looked before the slot was
            // free, so the slot is taken back and offered.
            self.queue.hand_over(self);
        }
    }

    /// Frees a slot without waking a request or a watcher.
    #[inline]
    pub(super) fn free(&self) {
        self.used.fetch_sub(1, Ordering::SeqCst);
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
    use crate::endpoint::{Allowance, Take, Ticket, Watch};

    /// Explores all interleavings with up to three preemptions, which are enough to show such bugs.
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

    fn acquire(slots: &Arc<Slots>, queue: &Arc<WaitQueue>) {
        if !slots.try_acquire() {
            wait(slots, Ticket::join(queue));
        }
    }

    /// Looks until it has one of these slots, and declines others.
    fn wait(slots: &Arc<Slots>, ticket: Ticket) {
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        loop {
            if let Some(look) = ticket.look(&waker) {
                let offered = look.offers.iter().any(|offer| Arc::ptr_eq(offer, slots));
                let entered = match offered {
                    true => ticket.take(slots) == Take::Taken,
                    false => slots.try_acquire(),
                };
                if entered {
                    return;
                }
                ticket.decline(look);
            }
            parker.park();
        }
    }

    /// Every waiter gets its slot in every interleaving (loom reports a lost wake-up as a
    /// deadlock), and no two requests hold the one slot.
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

    /// A waiter that is dropped while it is being woken passes the slot on.
    #[test]
    fn a_cancelled_waiter_passes_its_turn_on() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(slots.try_acquire());
            let quitter = Ticket::join(&queue);
            quitter.decline(quitter.look(Waker::noop()).unwrap());
            let waiter = {
                let (slots, queue) = (Arc::clone(&slots), Arc::clone(&queue));
                thread::spawn(move || acquire(&slots, &queue))
            };
            let canceller = thread::spawn(move || drop(quitter));
            slots.release();
            canceller.join().unwrap();
            waiter.join().unwrap();
            slots.release();
            assert!(slots.has_room() && !queue.is_queued());
        });
    }

    /// A slot that is released while a request is queued goes to that request, not to a newcomer.
    #[test]
    fn a_newcomer_takes_no_slot_that_is_offered() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(slots.try_acquire());
            let ticket = Ticket::join(&queue);
            let newcomer = {
                let slots = Arc::clone(&slots);
                thread::spawn(move || assert!(!slots.try_acquire(), "overtook"))
            };
            let releaser = {
                let slots = Arc::clone(&slots);
                thread::spawn(move || slots.release())
            };
            wait(&slots, ticket);
            newcomer.join().unwrap();
            releaser.join().unwrap();
        });
    }

    /// A slot that is released while a request joins the queue is found by the request or offered
    /// to it.
    #[test]
    fn a_slot_that_is_released_while_a_request_joins_is_not_lost() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let slots = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(slots.try_acquire());
            let waiter = {
                let (slots, queue) = (Arc::clone(&slots), Arc::clone(&queue));
                thread::spawn(move || {
                    acquire(&slots, &queue);
                    slots.release();
                })
            };
            slots.release();
            waiter.join().unwrap();
            assert!(slots.has_room() && !queue.is_queued());
        });
    }

    /// Two requests are queued for two endpoints, released in either order: the one that is offered
    /// the wrong slot declines it.
    #[test]
    fn a_declined_slot_goes_to_the_one_that_wants_it() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let a = Arc::new(Slots::new(1, Arc::clone(&queue)));
            let b = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(a.try_acquire() && b.try_acquire());
            let (first, second) = (Ticket::join(&queue), Ticket::join(&queue));
            let waiter = {
                let b = Arc::clone(&b);
                thread::spawn(move || wait(&b, first))
            };
            let releaser = {
                let b = Arc::clone(&b);
                thread::spawn(move || b.release())
            };
            a.release();
            wait(&a, second);
            waiter.join().unwrap();
            releaser.join().unwrap();
            a.release();
            b.release();
            assert!(a.has_room() && b.has_room() && !queue.is_queued());
        });
    }

    /// A request that looks at an offer also sees the slot that becomes free during the look.
    #[test]
    fn a_slot_that_is_released_during_a_look_at_another_is_not_lost() {
        model(|| {
            let queue = Arc::new(WaitQueue::default());
            let a = Arc::new(Slots::new(1, Arc::clone(&queue)));
            let b = Arc::new(Slots::new(1, Arc::clone(&queue)));
            assert!(a.try_acquire() && b.try_acquire());
            let ticket = Ticket::join(&queue);
            let waiter = {
                let b = Arc::clone(&b);
                thread::spawn(move || wait(&b, ticket))
            };
            a.release();
            b.release();
            waiter.join().unwrap();
            assert!(a.has_room() && !b.has_room() && !queue.is_queued());
        });
    }

    /// Waits as `poll_ready` does: registers, then looks.
    fn watch_until(queue: &Arc<WaitQueue>, done: impl Fn() -> bool) {
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        let watch = Watch::for_room(Arc::clone(queue));
        loop {
            watch.register(&waker);
            if done() {
                return;
            }
            parker.park();
        }
    }

    /// A watcher for room is woken when a slot is released.
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

    /// A request that is given back to an allowance is seen by one that watches for room.
    #[test]
    fn a_watcher_sees_what_is_given_back_to_an_allowance() {
        model(|| {
            let (queue, allowance) = (Arc::new(WaitQueue::default()), Allowance::at_a_time(1));
            allowance.register(&queue);
            assert!(allowance.take());
            let watcher = {
                let allowance = allowance.clone();
                thread::spawn(move || watch_until(&queue, || allowance.left() == 1))
            };
            allowance.ended();
            watcher.join().unwrap();
        });
    }

    /// A request that is given back to an allowance is seen by one that joins the queue meanwhile.
    #[test]
    fn a_queued_request_sees_what_is_given_back_to_an_allowance() {
        model(|| {
            let (queue, allowance) = (Arc::new(WaitQueue::default()), Allowance::at_a_time(1));
            allowance.register(&queue);
            assert!(allowance.take());
            let waiter = {
                let allowance = allowance.clone();
                thread::spawn(move || {
                    let parker = LoomArc::new(Parker::default());
                    let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
                    let ticket = Ticket::join(&queue);
                    loop {
                        if let Some(look) = ticket.look(&waker) {
                            if allowance.take() {
                                return;
                            }
                            ticket.decline(look);
                        }
                        parker.park();
                    }
                })
            };
            allowance.ended();
            waiter.join().unwrap();
            assert_eq!(allowance.left(), 0);
        });
    }

    /// Watchers and queued requests are woken when a snapshot is published.
    #[test]
    fn all_that_wait_see_a_snapshot_that_is_published() {
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
            let ticket = Ticket::join(&queue);
            let publisher = {
                let (queue, published) = (Arc::clone(&queue), Arc::clone(&published));
                thread::spawn(move || {
                    published.store(1, Ordering::SeqCst);
                    queue.changed();
                })
            };
            loop {
                if let Some(look) = ticket.look(&waker) {
                    if published.load(Ordering::SeqCst) == 1 {
                        break;
                    }
                    ticket.decline(look);
                }
                parker.park();
            }
            drop(ticket);
            publisher.join().unwrap();
            watcher.join().unwrap();
        });
    }
}
