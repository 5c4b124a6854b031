use futures_util::FutureExt;
use std::{cell::Cell, time::Duration};
use tokio::time::{Instant, advance};

/// Nanoseconds since the start of a run.
pub type Nanos = u64;

pub const SECOND: f64 = 1e9;

/// Converts seconds to nanoseconds.
#[must_use]
pub fn nanos(seconds: f64) -> Nanos {
    (seconds * SECOND) as Nanos
}

/// Tokio's paused clock: code that reads it sees the time of the simulation.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    at: Cell<Nanos>,
}

impl Clock {
    /// Runs `f` in virtual time.
    ///
    /// # Panics
    ///
    /// Panics inside a tokio runtime.
    pub fn run<R>(f: impl FnOnce(&Self) -> R) -> R {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
        let _guard = runtime.enter();
        f(&Self { start: Instant::now(), at: Cell::new(0) })
    }

    /// Advances the clock to `at`.
    pub fn set(&self, at: Nanos) {
        let passed = at.saturating_sub(self.at.replace(at));
        if passed > 0 {
            _ = advance(Duration::from_nanos(passed)).now_or_never();
        }
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.at.get())
    }
}
