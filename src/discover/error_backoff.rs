use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The most updates taken in one poll, so that a source with millions of them does not block the
/// thread.
pub(crate) const MAX_UPDATES_PER_POLL: usize = 2048;
/// The pause after a stream's first error; it doubles with each consecutive error.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Paces the polls of a stream that fails.
///
/// An error counts as consecutive if it comes within twice the last pause after the error before
/// it. A source with a schedule of its own fails later than that, and so gets the shortest pause
/// again.
#[derive(Debug, Default)]
pub(crate) struct ErrorBackoff {
    /// The number of consecutive errors.
    failures: u32,
    pause: Option<Pin<Box<Sleep>>>,
    /// An error up to this time is consecutive to the last one.
    consecutive_until: Option<Instant>,
}

impl ErrorBackoff {
    /// Returns ready if the stream may be polled.
    pub(crate) fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    /// Begins a pause after an error.
    pub(crate) fn failed(&mut self) {
        let now = Instant::now();
        if self.consecutive_until.is_some_and(|until| until < now) {
            self.failures = 0;
        }
        let pause = MIN_BACKOFF.saturating_mul(1 << self.failures.min(16)).min(MAX_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(Box::pin(sleep_until(now + pause)));
        self.consecutive_until = Some(now + pause + pause);
    }

    /// Records that the stream has yielded an update. Returns true if an error came before it.
    pub(crate) fn recovered(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}
