use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Where a request should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    /// To the first, though all others go to the second.
    Probe,
    Second,
}

/// Stays with the second service after failures of the first in a row, until a probe of it succeeds.
///
/// Reads no clock while all is well.
#[derive(Debug)]
pub(super) struct Switch {
    /// 0 never switches.
    after: u32,
    probe_every: Duration,
    began: Instant,
    failures: AtomicU32,
    /// The age at which the first is probed; 0 while it is in use.
    probe_at: AtomicU64,
    first_is_gone: AtomicBool,
}

impl Switch {
    pub(super) fn new(after: u32, probe_every: Duration) -> Self {
        Self {
            after,
            probe_every,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            probe_at: AtomicU64::new(0),
            first_is_gone: AtomicBool::new(false),
        }
    }

    /// True if the first service can never work again.
    pub(super) fn first_is_gone(&self) -> bool {
        self.first_is_gone.load(Ordering::Relaxed)
    }

    /// The first service is gone. True for the one who says so first.
    pub(super) fn lose_first(&self) -> bool {
        !self.first_is_gone.swap(true, Ordering::Relaxed)
    }

    /// Where the next request should go. Of those that ask when a probe is due, one is told to make it.
    pub(super) fn turn(&self) -> Turn {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 {
            return Turn::First;
        }
        let age = self.age();
        let order = Ordering::Relaxed;
        let probes = age >= probe_at
            && self.probe_at.compare_exchange(probe_at, self.after(age), order, order).is_ok();
        if probes { Turn::Probe } else { Turn::Second }
    }

    /// The probe could not be made: it is the next request's turn.
    pub(super) fn give_turn_back(&self) {
        if self.probe_at.load(Ordering::Relaxed) != 0 {
            self.probe_at.store(self.age().max(1), Ordering::Relaxed);
        }
    }

    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.probe_at.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self) {
        if self.after == 0 {
            return;
        }
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
        if failures >= self.after {
            self.probe_at.store(self.after(self.age()), Ordering::Relaxed);
        }
    }

    fn after(&self, age: u64) -> u64 {
        let every = u64::try_from(self.probe_every.as_nanos()).unwrap_or(u64::MAX);
        age.saturating_add(every).max(1)
    }

    fn age(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
