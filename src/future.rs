//! Code that the crate's futures share.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

/// Panics because the future `name` was polled again after it had returned its output.
///
/// Futures of the standard library and of tower panic too. The alternative, a `Pending` that
/// registers no waker, would make the caller wait indefinitely.
#[cold]
#[track_caller]
#[allow(clippy::panic)]
pub(crate) fn polled_after_completion(name: &str) -> ! {
    panic!("`{name}` polled after completion")
}

pin_project! {
    /// A timer that is created by its first poll, so that an operation that is ready at once needs
    /// none.
    #[derive(Debug, Default)]
    pub(crate) struct LazySleep {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl LazySleep {
    /// Polls the timer, which `start` creates if it does not run yet.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        start: impl FnOnce() -> Sleep,
    ) -> Poll<()> {
        let mut sleep = self.project().sleep;
        if let Some(running) = sleep.as_mut().as_pin_mut() {
            return running.poll(cx);
        }
        sleep.set(Some(start()));
        // A new timer has to be polled to register the waker; it may already be over.
        sleep.as_pin_mut().map_or(Poll::Ready(()), |started| started.poll(cx))
    }

    /// Stops the timer, so that the next poll starts another.
    pub(crate) fn stop(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }

    /// Returns the time at which the timer ends; `None` if it does not run.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sleep.as_ref().map(Sleep::deadline)
    }
}
