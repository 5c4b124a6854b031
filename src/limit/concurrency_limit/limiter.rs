use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Priority, RejectReason};
use crate::sync::{
    AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering::SeqCst, between_seq_cst, lock,
};

/// The order in which waiting requests get permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// First in, first out. When the queue is full, new requests are rejected. The default.
    #[default]
    Fifo,
    /// First in, first out while the queue is at most half full; last in, first out above, because
    /// the older requests would hardly be in time. When the queue is full, the oldest request is
    /// rejected.
    ///
    /// Source: "Fail at scale" (Maurer, 2015), adaptive LIFO.
    AdaptiveLifo,
}

/// A semaphore with a variable number of permits and a bounded queue. A request that gets a permit
/// at once takes no lock.
///
/// No wake-up is lost. A waiter joins the queue first, and looks for a permit after that. A permit
/// is released first, and the queue is looked at after that. All four are sequentially consistent,
/// so at least one of the two sees the other.
#[derive(Debug)]
pub(super) struct Limiter {
    /// The requests in flight in the low half, and in the high half the lowest 32 bits of the
    /// number of permits granted so far. One atomic operation counts both.
    granted_and_in_flight: AtomicU64,
    /// How often another 2^31 permits were granted.
    granted_halves: AtomicU64,
    limit: AtomicU32,
    /// The length of `queue`, to be read without the lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Waiter>>>,
    capacity: usize,
    order: QueueOrder,
}

#[derive(Debug)]
struct Waiter {
    state: Mutex<WaiterState>,
}

#[derive(Debug)]
enum WaiterState {
    /// In the queue, with the waker of the last poll.
    Waiting(Option<Waker>),
    /// Owns a permit, which the entry has not taken yet.
    Granted,
    /// Replaced by a newer request.
    Outdated,
    /// The entry has taken its permit, or was dropped.
    Done,
}

/// Counts one request as in flight under a concurrency limit, until it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Limiter>);

/// One permit in the high half of [`Limiter::granted_and_in_flight`].
const GRANTED: u64 = 1 << 32;
const GRANTED_SHIFT: u32 = 32;
/// Permits granted per [`Limiter::granted_halves`].
const HALF_BITS: u32 = 31;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;

/// A request's entry in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct QueueEntry {
    limiter: Arc<Limiter>,
    waiter: Arc<Waiter>,
}

/// The result of asking for a permit.
pub(super) enum Acquired {
    Permit(Permit),
    Queued(QueueEntry),
    Rejected(RejectReason),
}

impl Limiter {
    pub(super) fn new(limit: u32, capacity: usize, order: QueueOrder) -> Self {
        Self {
            granted_and_in_flight: AtomicU64::new(0),
            granted_halves: AtomicU64::new(0),
            limit: AtomicU32::new(limit),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
            capacity,
            order,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(SeqCst)
    }

    pub(super) fn in_flight(&self) -> u32 {
        // The low half.
        self.granted_and_in_flight.load(SeqCst) as u32
    }

    /// Returns how many permits were granted so far.
    pub(super) fn granted(&self) -> u64 {
        // The halves are read first, so their count is complete, or lacks the one that has just
        // begun. The highest bit of the lower count tells the two apart.
        let halves = self.granted_halves.load(SeqCst);
        let granted = self.granted_and_in_flight.load(SeqCst) >> GRANTED_SHIFT;
        let missing = (halves ^ (granted >> HALF_BITS)) & 1;
        (halves + missing) << HALF_BITS | granted & HALF_MASK
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    pub(super) fn set_limit(&self, limit: u32) {
        if self.limit.swap(limit, SeqCst) < limit && self.waiting() > 0 {
            self.grant(&mut lock(&self.queue));
        }
    }

    #[inline]
    pub(super) fn acquire(self: &Arc<Self>, priority: Priority) -> Acquired {
        let limit = self.limit();
        // While requests wait, no other may overtake them.
        if let Some(part) = priority.part_of(limit) {
            return if self.waiting() == 0 && self.try_take(part) {
                Acquired::Permit(Permit(Arc::clone(self)))
            } else {
                Acquired::Rejected(RejectReason::Priority { limit: part })
            };
        }
        if self.waiting() == 0 && self.try_take(limit) {
            return Acquired::Permit(Permit(Arc::clone(self)));
        }
        self.join_queue()
    }

    #[cold]
    fn join_queue(self: &Arc<Self>) -> Acquired {
        let mut queue = lock(&self.queue);
        if queue.len() >= self.capacity {
            let oldest = match self.order {
                QueueOrder::Fifo => None,
                QueueOrder::AdaptiveLifo => queue.pop_front(),
            };
            match oldest {
                Some(oldest) => oldest.set(WaiterState::Outdated),
                // Capacity is 0, and a permit may have been released in the meantime.
                None if queue.is_empty() && self.try_take(self.limit()) => {
                    return Acquired::Permit(Permit(Arc::clone(self)));
                }
                None => return Acquired::Rejected(RejectReason::QueueFull { limit: self.limit() }),
            };
        }
        let waiter = Arc::new(Waiter { state: Mutex::new(WaiterState::Waiting(None)) });
        queue.push_back(Arc::clone(&waiter));
        self.waiting.store(queue.len(), SeqCst);
        between_seq_cst();
        // A permit that was released before the store above did not see this waiter.
        self.grant(&mut queue);
        Acquired::Queued(QueueEntry { limiter: Arc::clone(self), waiter })
    }

    fn try_take(&self, limit: u32) -> bool {
        // The count of permits wraps around; that of the requests in flight is below the limit.
        let one_more =
            |state: u64| ((state as u32) < limit).then(|| state.wrapping_add(GRANTED | 1));
        match self.granted_and_in_flight.fetch_update(SeqCst, SeqCst, one_more) {
            Ok(before) => {
                if before >> GRANTED_SHIFT & HALF_MASK == HALF_MASK {
                    self.granted_halves.fetch_add(1, SeqCst);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Grants the free permits to waiters.
    fn grant(&self, queue: &mut VecDeque<Arc<Waiter>>) {
        while !queue.is_empty() && self.try_take(self.limit()) {
            let newest_first =
                self.order == QueueOrder::AdaptiveLifo && queue.len() * 2 > self.capacity;
            let next = if newest_first { queue.pop_back() } else { queue.pop_front() };
            if !next.is_some_and(|next| next.set(WaiterState::Granted)) {
                // The waiter's entry was dropped in the meantime: the permit is free again.
                self.granted_and_in_flight.fetch_sub(1, SeqCst);
            }
        }
        self.waiting.store(queue.len(), SeqCst);
    }

    fn release(&self) {
        self.granted_and_in_flight.fetch_sub(1, SeqCst);
        between_seq_cst();
        if self.waiting() > 0 {
            self.grant(&mut lock(&self.queue));
        }
    }
}

impl Waiter {
    /// Ends the wait with `state`, and wakes the task. Returns false if the entry was dropped.
    fn set(&self, new: WaiterState) -> bool {
        let mut state = lock(&self.state);
        let WaiterState::Waiting(waker) = &mut *state else { return false };
        let waker = waker.take();
        *state = new;
        // A waker may run the task at once, which locks the state.
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Permit {
    pub(super) fn limiter(&self) -> &Arc<Limiter> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl QueueEntry {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, RejectReason>> {
        let mut state = lock(&self.waiter.state);
        match &mut *state {
            WaiterState::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            WaiterState::Granted => {
                *state = WaiterState::Done;
                Poll::Ready(Ok(Permit(Arc::clone(&self.limiter))))
            }
            WaiterState::Outdated | WaiterState::Done => Poll::Ready(Err(RejectReason::Outdated)),
        }
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        // The lock of the state is released before the queue is locked: `grant` holds the queue's
        // lock while it locks states.
        let state = std::mem::replace(&mut *lock(&self.waiter.state), WaiterState::Done);
        match state {
            WaiterState::Waiting(_) => {
                let mut queue = lock(&self.limiter.queue);
                queue.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
                self.limiter.waiting.store(queue.len(), SeqCst);
            }
            // A permit was granted, but never taken.
            WaiterState::Granted => self.limiter.release(),
            WaiterState::Outdated | WaiterState::Done => {}
        }
    }
}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_beyond_32_bits() {
        let limiter = Arc::new(Limiter::new(3, 0, QueueOrder::Fifo));
        for granted in [0, HALF_MASK, u64::from(u32::MAX), 3 << HALF_BITS | HALF_MASK] {
            limiter.granted_halves.store(granted >> HALF_BITS, SeqCst);
            limiter.granted_and_in_flight.store(granted << GRANTED_SHIFT, SeqCst);
            for more in 1..=3 {
                assert!(limiter.try_take(3));
                assert_eq!(limiter.granted(), granted + more);
                assert_eq!(u64::from(limiter.in_flight()), more);
            }
            assert!(!limiter.try_take(3));
            // As if the other thread had not yet counted the half.
            let halves = limiter.granted_halves.load(SeqCst);
            limiter.granted_halves.store(granted >> HALF_BITS, SeqCst);
            assert_eq!(limiter.granted(), granted + 3);
            limiter.granted_halves.store(halves, SeqCst);
            limiter.release();
            assert_eq!((limiter.granted(), limiter.in_flight()), (granted + 3, 2));
        }
    }
}

#[cfg(all(test, tower_lb_loom))]
mod loom_tests {
    use std::task::Wake;

    use loom::{
        sync::{Arc as LoomArc, Condvar, Mutex as LoomMutex},
        thread,
    };

    use super::*;

    /// Parks a loom thread until it is woken, as an executor would.
    #[derive(Default)]
    struct Parker {
        woken: LoomMutex<bool>,
        bell: Condvar,
    }

    struct Unpark(LoomArc<Parker>);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            *self.0.woken.lock().unwrap() = true;
            self.0.bell.notify_one();
        }
    }

    fn acquire(limiter: &Arc<Limiter>) -> Permit {
        let mut entry = match limiter.acquire(Priority::NORMAL) {
            Acquired::Permit(permit) => return permit,
            Acquired::Queued(entry) => entry,
            Acquired::Rejected(rejected) => panic!("{rejected}"),
        };
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        loop {
            if let Poll::Ready(permit) = entry.poll(&mut Context::from_waker(&waker)) {
                return permit.unwrap();
            }
            let mut woken = parker.woken.lock().unwrap();
            while !*woken {
                woken = parker.bell.wait(woken).unwrap();
            }
            *woken = false;
        }
    }

    fn model(threads: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(threads);
    }

    /// Every request gets a permit in every interleaving (loom reports a lost wake-up as a
    /// deadlock), and never two at once.
    #[test]
    fn every_request_gets_a_permit_and_one_at_a_time() {
        model(|| {
            let limiter = Arc::new(Limiter::new(1, 2, QueueOrder::Fifo));
            let holders = Arc::new(AtomicU32::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (limiter, holders) = (Arc::clone(&limiter), Arc::clone(&holders));
                    thread::spawn(move || {
                        let permit = acquire(&limiter);
                        assert_eq!(holders.fetch_add(1, SeqCst), 0);
                        holders.fetch_sub(1, SeqCst);
                        drop(permit);
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
        });
    }

    /// An entry that is dropped while it gets a permit passes the permit on.
    #[test]
    fn a_dropped_entry_passes_its_permit_on() {
        model(|| {
            let limiter = Arc::new(Limiter::new(1, 2, QueueOrder::Fifo));
            let permit = acquire(&limiter);
            let Acquired::Queued(quitter) = limiter.acquire(Priority::NORMAL) else {
                panic!("a permit above the limit")
            };
            let waiter = {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || drop(acquire(&limiter)))
            };
            let canceller = thread::spawn(move || drop(quitter));
            drop(permit);
            canceller.join().unwrap();
            waiter.join().unwrap();
            assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
        });
    }
}
