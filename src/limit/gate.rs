use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use super::{Priority, Rejected};

/// Who is next when a place gets free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Who has waited longest. When the queue is full, who comes is turned away. The default.
    #[default]
    FirstInFirstOut,
    /// The same while the queue is less than half full; then who came last, because those who came
    /// before will hardly be in time. When the queue is full, who has waited longest is turned away.
    ///
    /// Source: "Fail at scale" (Maurer, 2015), adaptive LIFO.
    LastInFirstOutUnderOverload,
}

/// Lets so many in, and others wait outside in a bounded queue. Who finds room takes no lock.
///
/// No wake-up is lost: who waits joins the queue first and looks for room then, who leaves makes room
/// first and looks at the queue then, all sequentially consistent.
#[derive(Debug)]
pub(super) struct Gate {
    inside: AtomicU32,
    limit: AtomicU32,
    outside: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Waiter>>>,
    capacity: usize,
    order: Order,
}

#[derive(Debug)]
struct Waiter {
    state: AtomicU8,
    waker: AtomicWaker,
}

const WAITING: u8 = 0;
const ADMITTED: u8 = 1;
const OUTDATED: u8 = 2;
const GONE: u8 = 3;

/// Inside; dropping it makes room.
#[derive(Debug)]
pub(super) struct Permit(Arc<Gate>);

/// A place in the queue; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    waiter: Arc<Waiter>,
}

pub(super) enum Entry {
    Inside(Permit),
    Outside(Ticket),
    Rejected(Rejected),
}

impl Gate {
    pub(super) fn new(limit: u32, capacity: usize, order: Order) -> Self {
        Self {
            inside: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
            outside: AtomicUsize::new(0),
            queue: Mutex::default(),
            capacity,
            order,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.load(SeqCst)
    }

    pub(super) fn inside(&self) -> u32 {
        self.inside.load(SeqCst)
    }

    pub(super) fn outside(&self) -> usize {
        self.outside.load(SeqCst)
    }

    pub(super) fn set_limit(&self, limit: u32) {
        if self.limit.swap(limit, SeqCst) < limit && self.outside() > 0 {
            self.admit(&mut self.lock());
        }
    }

    #[inline]
    pub(super) fn enter(self: &Arc<Self>, priority: Priority) -> Entry {
        let limit = self.limit();
        if let Some(part) = priority.part_of(limit) {
            return if self.outside() == 0 && self.take_place(part) {
                Entry::Inside(Permit(Arc::clone(self)))
            } else {
                Entry::Rejected(Rejected::Priority { limit: part })
            };
        }
        if self.outside() == 0 && self.take_place(limit) {
            return Entry::Inside(Permit(Arc::clone(self)));
        }
        self.queue_up()
    }

    #[cold]
    fn queue_up(self: &Arc<Self>) -> Entry {
        let mut queue = self.lock();
        if queue.len() >= self.capacity {
            let outdated = match self.order {
                Order::FirstInFirstOut => None,
                Order::LastInFirstOutUnderOverload => queue.pop_front(),
            };
            match outdated {
                Some(outdated) => outdated.turn(OUTDATED),
                // It may be that room was made since, and nobody waits.
                None if queue.is_empty() && self.take_place(self.limit()) => {
                    return Entry::Inside(Permit(Arc::clone(self)));
                }
                None => return Entry::Rejected(Rejected::QueueFull { limit: self.limit() }),
            };
        }
        let waiter = Arc::new(Waiter { state: AtomicU8::new(WAITING), waker: AtomicWaker::new() });
        queue.push_back(Arc::clone(&waiter));
        self.outside.store(queue.len(), SeqCst);
        self.admit(&mut queue);
        Entry::Outside(Ticket { gate: Arc::clone(self), waiter })
    }

    fn take_place(&self, limit: u32) -> bool {
        let one_more = |inside| (inside < limit).then(|| inside + 1);
        self.inside.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// Lets in as many as there is room for.
    fn admit(&self, queue: &mut VecDeque<Arc<Waiter>>) {
        while !queue.is_empty() && self.take_place(self.limit()) {
            let newest =
                self.order == Order::LastInFirstOutUnderOverload && queue.len() * 2 > self.capacity;
            let next = if newest { queue.pop_back() } else { queue.pop_front() };
            if !next.is_some_and(|next| next.turn(ADMITTED)) {
                self.inside.fetch_sub(1, SeqCst);
            }
        }
        self.outside.store(queue.len(), SeqCst);
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, SeqCst);
        if self.outside() > 0 {
            self.admit(&mut self.lock());
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Waiter>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// False if it has given up.
    fn turn(&self, state: u8) -> bool {
        let waited = self.state.compare_exchange(WAITING, state, SeqCst, SeqCst).is_ok();
        self.waker.wake();
        waited
    }
}

impl Permit {
    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Ticket {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejected>> {
        self.waiter.waker.register(cx.waker());
        match self.waiter.state.load(SeqCst) {
            WAITING => Poll::Pending,
            ADMITTED => {
                self.waiter.state.store(GONE, SeqCst);
                Poll::Ready(Ok(Permit(Arc::clone(&self.gate))))
            }
            _ => Poll::Ready(Err(Rejected::Outdated)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.waiter.state.swap(GONE, SeqCst) {
            WAITING => {
                let mut queue = self.gate.lock();
                queue.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
                self.gate.outside.store(queue.len(), SeqCst);
            }
            ADMITTED => self.gate.leave(),
            _ => {}
        }
    }
}
