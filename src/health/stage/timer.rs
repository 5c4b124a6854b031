use std::{
    collections::BTreeSet,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::members::Id;

/// Deadlines of endpoints. One timer serves all of them.
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

    /// Returns the next endpoint that is due. Without a deadline, no waker is registered: a stage
    /// that adds one polls again before it returns.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Id> {
        let Some(&(at, id)) = self.due.first() else { return Poll::Pending };
        ready!(self.sleep.poll_until(at, cx));
        self.due.pop_first();
        Poll::Ready(id)
    }
}

/// A periodic timer that skips missed ticks.
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
        ready!(self.sleep.poll_until(next, cx));
        self.next = Some(after(Instant::now(), self.period));
        Poll::Ready(())
    }

    /// Starts a whole period at the next poll.
    pub(crate) fn reset(&mut self) {
        self.next = None;
    }
}

/// The shortest period. A timer with a shorter one would be due again in the same clock tick, and a
/// loop that polls it would never end.
pub(crate) const MIN_PERIOD: Duration = Duration::from_millis(1);

/// A timer that is created when it is first needed, in the runtime that polls.
#[derive(Debug, Default)]
struct LazySleep(Option<Pin<Box<Sleep>>>);

impl LazySleep {
    fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
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

/// Returns `now + time`, or 30 years from `now` if that is sooner.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    const MAX_TIME: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(time.min(MAX_TIME)).unwrap_or(now)
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
        let mut interval = Interval::new(Duration::from_secs(1));
        assert!(poll_fn(|cx| Poll::Ready(interval.poll(cx))).await.is_pending());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(poll_fn(|cx| Poll::Ready(interval.poll(cx))).await.is_ready());
        assert!(poll_fn(|cx| Poll::Ready(interval.poll(cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_is_too_long() {
        assert!(after(Instant::now(), Duration::MAX) > Instant::now());
    }
}
