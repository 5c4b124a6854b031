use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Priority, Rejected};
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering::SeqCst, between_seq_cst, lock};

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
pub(super) struct Limiter {
    inside: AtomicU32,
    limit: AtomicU32,
    outside: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Waiter>>>,
    capacity: usize,
    order: Order,
}

#[derive(Debug)]
struct Waiter {
    turn: Mutex<Turn>,
}

#[derive(Debug)]
enum Turn {
    /// With the waker of who waits, once it has been polled.
    Waiting(Option<Waker>),
    Admitted,
    Outdated,
    /// Inside, or given up.
    Gone,
}

/// A place among the requests under way; dropping it gives it back.
#[derive(Debug)]
pub struct Permit(Arc<Limiter>);

/// A place in the queue; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Limiter>,
    waiter: Arc<Waiter>,
}

pub(super) enum Entry {
    Inside(Permit),
    Outside(Ticket),
    Rejected(Rejected),
}

impl Limiter {
    pub(super) fn new(limit: u32, capacity: usize, order: Order) -> Self {
        Self {
            inside: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
            outside: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
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
            self.admit(&mut lock(&self.queue));
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
        let mut queue = lock(&self.queue);
        if queue.len() >= self.capacity {
            let outdated = match self.order {
                Order::FirstInFirstOut => None,
                Order::LastInFirstOutUnderOverload => queue.pop_front(),
            };
            match outdated {
                Some(outdated) => outdated.turn(Turn::Outdated),
                // It may be that room was made since, and nobody waits.
                None if queue.is_empty() && self.take_place(self.limit()) => {
                    return Entry::Inside(Permit(Arc::clone(self)));
                }
                None => return Entry::Rejected(Rejected::QueueFull { limit: self.limit() }),
            };
        }
        let waiter = Arc::new(Waiter { turn: Mutex::new(Turn::Waiting(None)) });
        queue.push_back(Arc::clone(&waiter));
        self.outside.store(queue.len(), SeqCst);
        between_seq_cst();
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
            if !next.is_some_and(|next| next.turn(Turn::Admitted)) {
                self.inside.fetch_sub(1, SeqCst);
            }
        }
        self.outside.store(queue.len(), SeqCst);
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, SeqCst);
        between_seq_cst();
        if self.outside() > 0 {
            self.admit(&mut lock(&self.queue));
        }
    }
}

impl Waiter {
    /// False if it has given up.
    fn turn(&self, turn: Turn) -> bool {
        let mut state = lock(&self.turn);
        let Turn::Waiting(waker) = &mut *state else { return false };
        let waker = waker.take();
        *state = turn;
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Permit {
    pub(super) fn gate(&self) -> &Arc<Limiter> {
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
        let mut turn = lock(&self.waiter.turn);
        match &mut *turn {
            Turn::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Turn::Admitted => {
                *turn = Turn::Gone;
                Poll::Ready(Ok(Permit(Arc::clone(&self.gate))))
            }
            Turn::Outdated | Turn::Gone => Poll::Ready(Err(Rejected::Outdated)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let turn = std::mem::replace(&mut *lock(&self.waiter.turn), Turn::Gone);
        match turn {
            Turn::Waiting(_) => {
                let mut queue = lock(&self.gate.queue);
                queue.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
                self.gate.outside.store(queue.len(), SeqCst);
            }
            Turn::Admitted => self.gate.leave(),
            Turn::Outdated | Turn::Gone => {}
        }
    }
}

#[cfg(all(test, tower_lb_loom))]
mod tests {
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

    fn enter(gate: &Arc<Limiter>) -> Permit {
        let mut ticket = match gate.enter(Priority::NORMAL) {
            Entry::Inside(permit) => return permit,
            Entry::Outside(ticket) => ticket,
            Entry::Rejected(rejected) => panic!("{rejected}"),
        };
        let parker = LoomArc::new(Parker::default());
        let waker: Waker = Arc::new(Unpark(LoomArc::clone(&parker))).into();
        loop {
            if let Poll::Ready(permit) = ticket.poll(&mut Context::from_waker(&waker)) {
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

    /// Everybody gets in in every interleaving (loom reports a lost wake-up as a deadlock), and never
    /// two at once.
    #[test]
    fn everybody_gets_in_and_one_at_a_time() {
        model(|| {
            let gate = Arc::new(Limiter::new(1, 2, Order::FirstInFirstOut));
            let inside = Arc::new(AtomicU32::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                    thread::spawn(move || {
                        let permit = enter(&gate);
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                        drop(permit);
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!((gate.inside(), gate.outside()), (0, 0));
        });
    }

    /// One that gives up while it is let in makes room for the next.
    #[test]
    fn who_gives_up_makes_room() {
        model(|| {
            let gate = Arc::new(Limiter::new(1, 2, Order::FirstInFirstOut));
            let permit = enter(&gate);
            let Entry::Outside(quitter) = gate.enter(Priority::NORMAL) else { panic!("full") };
            let waiter = {
                let gate = Arc::clone(&gate);
                thread::spawn(move || drop(enter(&gate)))
            };
            let canceller = thread::spawn(move || drop(quitter));
            drop(permit);
            canceller.join().unwrap();
            waiter.join().unwrap();
            assert_eq!((gate.inside(), gate.outside()), (0, 0));
        });
    }
}
