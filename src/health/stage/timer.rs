use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::members::Id;

/// When something is due for which endpoint. One timer serves all of them.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    due: BTreeSet<(Instant, Id)>,
    sleep: LazySleep,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at: Instant, id: Id) {
        self.due.insert((at, id));
    }

    pub(crate) fn cancel(&mut self, at: Instant, id: Id) {
        self.due.remove(&(at, id));
    }

    /// The next that is due. While there is none, no waker is registered: a stage that adds one
    /// polls again before it returns.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Id> {
        let Some(&(at, id)) = self.due.first() else { return Poll::Pending };
        ready!(self.sleep.poll_at(at, cx));
        self.due.pop_first();
        Poll::Ready(id)
    }
}

/// Comes again and again. Turns that were missed are left out.
#[derive(Debug)]
pub(crate) struct Interval {
    period: Duration,
    next: Option<Instant>,
    sleep: LazySleep,
}

impl Interval {
    pub(crate) fn new(period: Duration) -> Self {
        let period = period.max(MIN_PERIOD);
        Self { period, next: None, sleep: LazySleep::default() }
    }

    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = *self.next.get_or_insert_with(|| after(Instant::now(), self.period));
        ready!(self.sleep.poll_at(next, cx));
        self.next = Some(after(Instant::now(), self.period));
        Poll::Ready(())
    }

    /// Starts over with a whole period.
    pub(crate) fn stop(&mut self) {
        self.next = None;
    }
}

/// What takes less time than the clock has between two ticks would be due again at once, for ever.
pub(crate) const MIN_PERIOD: Duration = Duration::from_millis(1);

/// A timer that is made when it is first needed, in the runtime that polls.
#[derive(Debug, Default)]
struct LazySleep(Option<Pin<Box<Sleep>>>);

impl LazySleep {
    fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

/// So much later; thirty years if that is beyond what the clock can tell.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(time.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn deadlines_come_in_their_order_whatever_the_order_they_were_added_in() {
        let (start, mut deadlines) = (Instant::now(), Deadlines::default());
        let later = |seconds| start + Duration::from_secs(seconds);
        for (seconds, id) in [(3, 1), (1, 2), (2, 3), (2, 4)] {
            deadlines.add(later(seconds), id);
        }
        deadlines.cancel(later(2), 4);
        for (id, seconds) in [(2, 1), (3, 2), (1, 3)] {
            assert_eq!(poll_fn(|cx| deadlines.poll(cx)).await, id);
            assert_eq!(Instant::now(), later(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_missed_is_left_out() {
        let mut every = Interval::new(Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(every.poll(cx))).await.is_pending());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(poll_fn(|cx| Poll::Ready(every.poll(cx))).await.is_ready());
        assert!(poll_fn(|cx| Poll::Ready(every.poll(cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_is_too_long() {
        assert!(after(Instant::now(), Duration::MAX) > Instant::now());
    }
}
