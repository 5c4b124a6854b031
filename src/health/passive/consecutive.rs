use std::sync::atomic::{AtomicU32, Ordering};

/// Counts consecutive failures.
#[derive(Debug, Default)]
pub(crate) struct ConsecutiveFailures(AtomicU32);

impl ConsecutiveFailures {
    /// Counts one more failure and returns how many there are.
    pub(crate) fn increment(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Counts one more failure. Returns the number at each multiple of `threshold`: if the endpoint
    /// cannot be ejected at the first, there is another attempt later.
    pub(crate) fn increment_to(&self, threshold: Option<u32>) -> Option<u32> {
        let threshold = threshold?;
        let failures = self.increment();
        (failures % threshold == 0).then_some(failures)
    }

    /// Starts from 0.
    #[inline]
    pub(crate) fn reset(&self) {
        // Most resets find 0. Without a write, the cache line stays shared between cores.
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}
