use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// How many more requests an endpoint may get, all balancers together: what an endpoint on trial is
/// given.
///
/// A balancer takes one for each request that it sends there, and sends none when there are none left.
/// Clones share what is left, and only clones are equal.
#[derive(Clone, Debug)]
pub struct Allowance(Arc<AtomicU32>);

impl Allowance {
    /// So many requests.
    #[must_use]
    pub fn of(requests: u32) -> Self {
        Self(Arc::new(AtomicU32::new(requests)))
    }

    /// How many requests may still be sent.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).is_ok()
    }

    /// For a request that was not sent after all.
    pub(crate) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
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
