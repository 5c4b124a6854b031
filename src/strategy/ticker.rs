use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// A clock can't tell all times that a `Duration` can: longer is as good as never.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Ticks for a strategy's work between requests, from the first poll on.
#[derive(Debug)]
pub(super) struct Ticker {
    period: Duration,
    interval: Option<Interval>,
}

impl Ticker {
    pub(super) fn new(period: Duration) -> Self {
        Self { period: period.min(LONGEST), interval: None }
    }

    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let period = self.period;
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
    /// Begins anew.
    fn clone(&self) -> Self {
        Self::new(self.period)
    }
}
