use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

/// A wait that takes longer than this is logged, once.
const LOG_AFTER: Duration = Duration::from_secs(1);

/// Measures one wait: logs it when it takes long, and ends it when it reaches its limit.
///
/// The timer is made by the first poll, so that a request that need not wait has none.
#[derive(Debug, Default)]
pub(super) struct WaitTimer {
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    is_logged: bool,
}

impl WaitTimer {
    /// Returns ready when `limit` has passed since the first poll, and never if there is no limit.
    /// Each poll may have another limit.
    ///
    /// Calls `log` with the time waited if the wait has taken 1 s and its limit is longer.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
        log: impl FnOnce(Duration),
    ) -> Poll<()> {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Poll::Ready(());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        // A limit too long for an `Instant` is no limit.
        let deadline = limit.and_then(|limit| since.checked_add(limit));
        let log_at = since + LOG_AFTER;
        if !self.is_logged && deadline.is_none_or(|deadline| deadline > log_at) {
            // Without a limit the balancer works on any executor; timers need a tokio runtime.
            if deadline.is_some() || Handle::try_current().is_ok() {
                ready!(self.poll_until(log_at, cx));
                self.is_logged = true;
                log(since.elapsed());
            }
        }
        match deadline {
            Some(deadline) => self.poll_until(deadline, cx),
            None => Poll::Pending,
        }
    }

    /// Returns how long the wait has taken so far; `None` if there was none.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}
