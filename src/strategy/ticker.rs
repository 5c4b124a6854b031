use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The longest period. `Instant + Duration` overflows with very long ones; a year is as good as
/// never.
const MAX_PERIOD: Duration = Duration::from_secs(365 * 24 * 3600);

/// Ticks for the work that a strategy does between requests. The first period begins at the first
/// poll.
#[derive(Debug)]
pub(super) struct Ticker {
    period: Duration,
    interval: Option<Interval>,
}

impl Ticker {
    pub(super) fn new(period: Duration) -> Self {
        Self { period: period.min(MAX_PERIOD), interval: None }
    }

    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let period = self.period;
        // Created here, not in `new`: strategies are built outside of a runtime too.
        let interval = self.interval.get_or_insert_with(|| {
            let mut interval = interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        ready!(interval.poll_tick(cx));
        Poll::Ready(Instant::now())
    }
}

impl Clone for Ticker {
    /// Returns a ticker of the same period that has not started.
    fn clone(&self) -> Self {
        Self::new(self.period)
    }
}
