use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::time::{Duration, Instant};

use crate::sync::{Mutex, lock};

/// What the attempts of one traced request have in common. The request carries it in its
/// extensions, and copies of the request share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// The attempts that have reached an endpoint.
    sent: AtomicU32,
    /// When an attempt last ended.
    last_end: Mutex<Option<Instant>>,
}

impl Progress {
    /// Counts an attempt, and returns how many were sent before it.
    pub(super) fn begin_attempt(&self) -> u32 {
        self.0.sent.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn end_attempt(&self) {
        *lock(&self.0.last_end) = Some(Instant::now());
    }

    /// Returns the time since an attempt ended; `None` if none has.
    pub(super) fn since_last_end(&self) -> Option<Duration> {
        lock(&self.0.last_end).map(|end| end.elapsed())
    }

    pub(super) fn attempts(&self) -> u32 {
        self.0.sent.load(Ordering::Relaxed)
    }
}
