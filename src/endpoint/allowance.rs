use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering},
};

use super::WaitQueue;
use crate::sync::{Mutex, MutexGuard, lock};

/// A number of requests that an endpoint on trial may still get, from all balancers together.
///
/// A balancer takes one for each request that it sends to the endpoint, and sends no request when
/// none is left. Clones share the number, and only clones are equal.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    left: AtomicU32,
    /// The queues in which requests wait, one for each balancer.
    queues: Mutex<Vec<Weak<WaitQueue>>>,
}

impl Allowance {
    /// Allows `requests` requests.
    #[must_use]
    pub fn of(requests: u32) -> Self {
        Self(Arc::new(Shared { left: AtomicU32::new(requests), queues: Mutex::default() }))
    }

    /// Returns how many requests may still be sent.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.0.left.load(Ordering::Relaxed)
    }

    /// Takes one request; returns false if none is left.
    pub(crate) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).is_ok()
    }

    /// Gives one back for a request that was not sent after all, and wakes the requests that wait
    /// for room in all balancers that have the endpoint.
    pub(crate) fn give_back(&self) {
        self.0.left.fetch_add(1, Ordering::AcqRel);
        let queues = self.queues().clone();
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.look_again());
    }

    /// Registers the queue of a balancer, which is woken when a request is given back.
    pub(crate) fn register(&self, queue: &Arc<WaitQueue>) {
        let mut queues = self.queues();
        queues.retain(|known| known.strong_count() > 0);
        let queue = Arc::downgrade(queue);
        if !queues.iter().any(|known| known.ptr_eq(&queue)) {
            queues.push(queue);
        }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Weak<WaitQueue>>> {
        lock(&self.0.queues)
    }
}

impl PartialEq for Allowance {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Allowance {}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
