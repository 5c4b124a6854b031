use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// Where a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Primary,
    /// To the primary, though all other requests go to the fallback.
    Probe,
    Fallback,
}

/// Counts the primary's consecutive failures. After enough of them, routes requests to the fallback
/// until a probe of the primary succeeds.
///
/// Reads no clock while the primary is in use. Accesses are relaxed: each variable is a decision of
/// its own, and a request that sees an old value only goes to the other service.
#[derive(Debug)]
pub(super) struct PrimaryState {
    /// How many failures make the failover sticky; 0 for never.
    max_failures: u32,
    probe_every: Duration,
    created: Instant,
    failures: AtomicU32,
    /// When the primary is probed next, in nanoseconds since `created`; 0 while the primary is in
    /// use.
    probe_at: AtomicU64,
    is_gone: AtomicBool,
}

impl PrimaryState {
    pub(super) fn new(max_failures: u32, probe_every: Duration) -> Self {
        Self {
            max_failures,
            probe_every,
            created: Instant::now(),
            failures: AtomicU32::new(0),
            probe_at: AtomicU64::new(0),
            is_gone: AtomicBool::new(false),
        }
    }

    /// Returns true if the primary's `poll_ready` has failed, so that it must not be used any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Stops using the primary. Returns true for the first call.
    pub(super) fn set_gone(&self) -> bool {
        !self.is_gone.swap(true, Relaxed)
    }

    /// Decides where the next request goes. When a probe is due, one request makes it.
    pub(super) fn route(&self) -> Route {
        let probe_at = self.probe_at.load(Relaxed);
        if probe_at == 0 {
            return Route::Primary;
        }
        let age = self.age();
        // Of the requests that see that a probe is due, one moves the time on and makes the probe.
        let is_probe = age >= probe_at
            && self
                .probe_at
                .compare_exchange(probe_at, self.next_probe(age), Relaxed, Relaxed)
                .is_ok();
        if is_probe { Route::Probe } else { Route::Fallback }
    }

    /// Makes the next request the probe, because the current one could not be sent.
    pub(super) fn return_probe(&self) {
        if self.probe_at.load(Relaxed) != 0 {
            self.probe_at.store(self.age().max(1), Relaxed);
        }
    }

    pub(super) fn record_success(&self) {
        // Reads before it writes, so that successes do not contend for the cache line.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.probe_at.store(0, Relaxed);
        }
    }

    pub(super) fn record_failure(&self) {
        if self.max_failures == 0 {
            return;
        }
        // Not atomic as a whole: of two concurrent failures one may be lost, which delays the
        // failover by one request.
        let failures = self.failures.load(Relaxed).saturating_add(1);
        self.failures.store(failures, Relaxed);
        if failures >= self.max_failures {
            self.probe_at.store(self.next_probe(self.age()), Relaxed);
        }
    }

    fn next_probe(&self, age: u64) -> u64 {
        let every = u64::try_from(self.probe_every.as_nanos()).unwrap_or(u64::MAX);
        // 0 would mean that the primary is in use.
        age.saturating_add(every).max(1)
    }

    fn age(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
