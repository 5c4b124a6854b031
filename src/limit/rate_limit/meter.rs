use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The state of the generic cell rate algorithm. All times are in nanoseconds since `created`.
#[derive(Debug)]
pub(super) struct Meter {
    created: Instant,
    /// When the next request would arrive if all requests were evenly spaced.
    due: AtomicU64,
    /// The time between evenly spaced requests.
    interval: u64,
    /// How much earlier than `due` a request may be sent.
    tolerance: u64,
}

impl Meter {
    pub(super) fn new(rate: f64, burst: u32) -> Self {
        let interval = (1e9 / rate) as u64;
        let tolerance = interval.saturating_mul(u64::from(burst - 1));
        Self { created: Instant::now(), due: AtomicU64::new(0), interval, tolerance }
    }

    /// Reserves the next slot and returns the time until it. If that is longer than `max_wait`,
    /// reserves nothing and returns the time as the error.
    pub(super) fn reserve(&self, max_wait: Duration) -> Result<Duration, Duration> {
        let now = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wait = |due: u64| due.saturating_sub(now).saturating_sub(self.tolerance);
        // `due` is the whole state, so a relaxed update cannot be seen out of order with anything.
        let reserved = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let in_time = u128::from(wait(due)) <= max_wait.as_nanos();
            in_time.then(|| due.max(now).saturating_add(self.interval))
        });
        reserved.map(wait).map(Duration::from_nanos).map_err(|due| Duration::from_nanos(wait(due)))
    }
}
