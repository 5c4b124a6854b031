use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The idle timeout of a group, which can change while the group serves. Clones share it.
///
/// A change concerns the exchanges that begin afterwards.
#[derive(Clone, Debug)]
pub(super) struct IdleLimit {
    nanoseconds: Arc<AtomicU64>,
}

impl IdleLimit {
    pub(super) fn new(limit: Duration) -> Self {
        Self { nanoseconds: Arc::new(AtomicU64::new(nanoseconds(limit))) }
    }

    pub(super) fn set(&self, limit: Duration) {
        self.nanoseconds.store(nanoseconds(limit), Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

/// What exceeds the range, some 584 years, is as good as no limit.
fn nanoseconds(limit: Duration) -> u64 {
    u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
}
