use std::sync::{Arc, Weak, atomic::fence};

use arc_swap::ArcSwap;

use super::WaitQueue;
use crate::sync::{AtomicI64, AtomicU32, Ordering};

/// A number of requests that an endpoint may still get, from all balancers together: those of a
/// trial ([`of`](Self::of)), or those that it may have at a time ([`at_a_time`](Self::at_a_time)).
///
/// A balancer takes one for each request that it sends to the endpoint, and sends no request when
/// none is left. Clones share the number, and only clones are equal.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Below 0 if a limit was lowered below the requests in flight.
    left: AtomicI64,
    kind: Kind,
    /// The queues in which requests wait, one for each balancer. Each request that ends reads them,
    /// so they are not behind a lock.
    queues: ArcSwap<Vec<Weak<WaitQueue>>>,
}

#[derive(Debug)]
enum Kind {
    /// A request that has ended stays counted.
    Requests,
    /// A request that has ended makes room for another one.
    AtATime { limit: AtomicU32 },
}

impl Allowance {
    /// Allows `requests` requests.
    #[must_use]
    pub fn of(requests: u32) -> Self {
        Self::new(requests, Kind::Requests)
    }

    /// Allows `limit` requests at a time; 0 allows none. [`set_limit`](Self::set_limit) changes it.
    #[must_use]
    pub fn at_a_time(limit: u32) -> Self {
        Self::new(limit, Kind::AtATime { limit: AtomicU32::new(limit) })
    }

    fn new(left: u32, kind: Kind) -> Self {
        let left = AtomicI64::new(left.into());
        Self(Arc::new(Shared { left, kind, queues: ArcSwap::default() }))
    }

    /// Changes how many requests are allowed [at a time](Self::at_a_time). Requests in flight above
    /// a lower limit may finish. Has no effect on an allowance for a trial.
    pub fn set_limit(&self, limit: u32) {
        let Kind::AtATime { limit: current } = &self.0.kind else { return };
        // Each change adds its own difference, so concurrent ones add up to the last limit.
        let before = current.swap(limit, Ordering::AcqRel);
        let more = i64::from(limit) - i64::from(before);
        self.0.left.fetch_add(more, Ordering::SeqCst);
        if more > 0 {
            self.wake();
        }
    }

    /// Returns how many requests are allowed [at a time](Self::at_a_time); `None` for a trial.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        match &self.0.kind {
            Kind::Requests => None,
            Kind::AtATime { limit } => Some(limit.load(Ordering::Relaxed)),
        }
    }

    /// Returns how many requests may still be sent.
    #[must_use]
    pub fn left(&self) -> u32 {
        let left = self.0.left.load(Ordering::SeqCst).max(0);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Takes one request; returns false if none is left.
    pub(crate) fn take(&self) -> bool {
        let less = |left: i64| (left > 0).then(|| left - 1);
        self.0.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    /// Records that a request for which one was taken has ended.
    pub(crate) fn ended(&self) {
        if matches!(self.0.kind, Kind::AtATime { .. }) {
            self.give_back();
        }
    }

    /// Gives one back for a request that was not sent after all, and wakes the requests that wait
    /// for room in all balancers that have the endpoint.
    pub(crate) fn give_back(&self) {
        self.0.left.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the requests that wait. `left` has grown before: a request that is not seen here, in a
    /// queue or as a new queue, has joined it later and sees what is left. So both sides access
    /// `left` and the queues in one total order.
    fn wake(&self) {
        fence(Ordering::SeqCst);
        let queues = self.0.queues.load();
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.look_again());
    }

    /// Registers the queue of a balancer, which is woken when a request is given back.
    pub(crate) fn register(&self, queue: &Arc<WaitQueue>) {
        let queue = Arc::downgrade(queue);
        let is_known = |queues: &[Weak<WaitQueue>]| queues.iter().any(|known| known.ptr_eq(&queue));
        if !is_known(&self.0.queues.load()) {
            self.0.queues.rcu(|queues| {
                let mut next = Vec::clone(queues);
                next.retain(|known| known.strong_count() > 0);
                // Another thread may have been faster.
                if !is_known(&next) {
                    next.push(Weak::clone(&queue));
                }
                next
            });
        }
        fence(Ordering::SeqCst);
    }
}

impl PartialEq for Allowance {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Allowance {}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use allocation_counter::measure;

    use super::*;

    #[test]
    fn a_request_that_ends_allocates_nothing() {
        let (allowance, queue) = (Allowance::at_a_time(2), Arc::<WaitQueue>::default());
        allowance.register(&queue);
        allowance.register(&queue);
        assert_eq!(allowance.0.queues.load().len(), 1, "a queue is registered once");
        // The first access of a thread sets up what it reads by.
        assert!(allowance.take());
        allowance.ended();
        let cost = measure(|| {
            assert!(allowance.take());
            allowance.ended();
        });
        assert_eq!(cost.count_total, 0);
        drop(queue);
        let next = Arc::<WaitQueue>::default();
        allowance.register(&next);
        assert_eq!(allowance.0.queues.load().len(), 1, "a queue that is gone is forgotten");
    }

    #[test]
    fn takes_no_more_than_are_left() {
        let allowance = Allowance::of(2);
        let clone = allowance.clone();
        assert!(allowance.take() && clone.take());
        assert!(!allowance.take());
        clone.give_back();
        assert_eq!(allowance.left(), 1);
        assert!(allowance.take());
        assert_ne!(Allowance::of(0), allowance, "only clones are equal");
        allowance.ended();
        assert_eq!((allowance.left(), allowance.limit()), (0, None), "a trial gives nothing back");
    }

    #[test]
    fn a_limit_counts_the_requests_in_flight() {
        let allowance = Allowance::at_a_time(2);
        assert!(allowance.take() && allowance.take() && !allowance.take());
        allowance.ended();
        assert!(allowance.take());
        allowance.set_limit(1);
        allowance.ended();
        assert_eq!(allowance.left(), 0, "one is in flight");
        allowance.ended();
        assert_eq!(allowance.left(), 1);
        allowance.set_limit(0);
        assert!(!allowance.take());
        allowance.set_limit(3);
        assert_eq!((allowance.left(), allowance.limit()), (3, Some(3)));
    }
}
