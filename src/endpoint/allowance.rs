use std::sync::{
    Arc, Weak,
    atomic::{AtomicU32, Ordering},
};

use super::WaitQueue;
use crate::sync::{Mutex, MutexGuard, lock};

/// How many more requests an endpoint may get, all balancers together: what an endpoint on trial is
/// given.
///
/// A balancer takes one for each request that it sends there, and sends none when there are none left.
/// Clones share what is left, and only clones are equal.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    left: AtomicU32,
    /// Where requests wait, one for each balancer.
    queues: Mutex<Vec<Weak<WaitQueue>>>,
}

impl Allowance {
    /// So many requests.
    #[must_use]
    pub fn of(requests: u32) -> Self {
        Self(Arc::new(Shared { left: AtomicU32::new(requests), queues: Mutex::default() }))
    }

    /// How many requests may still be sent.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.0.left.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).is_ok()
    }

    /// For a request that was not sent after all. Requests that wait for room look again, in all
    /// balancers that have the endpoint.
    pub(crate) fn give_back(&self) {
        self.0.left.fetch_add(1, Ordering::AcqRel);
        let queues = self.queues().clone();
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| queue.look_again());
    }

    /// Tells the queue of a balancer when a request is given back.
    pub(crate) fn tell(&self, queue: &Arc<WaitQueue>) {
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
    fn no_more_are_taken_than_there_are() {
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
