use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::time::Instant;

use super::Moment;
use crate::outcome::Outcome;

/// The live figures of one endpoint: requests in flight, how requests ended, load estimates.
///
/// Each [`Attempt`](crate::outcome::Attempt) writes them; strategies, health adapters and the
/// status view read them. They fill one cache line, and no two endpoints share one.
///
/// The [`Load`](crate::load::Load) of the balancer's strategy writes the estimates. A strategy that
/// does not use latencies measures none.
#[derive(Debug)]
#[repr(align(64))]
pub struct EndpointStats {
    /// Requests in flight in the low 24 bits, successes in the others: a success then changes both
    /// with one atomic operation.
    flow: AtomicU64,
    cancelled: AtomicU32,
    application: AtomicU32,
    overload: AtomicU32,
    transport: AtomicU32,
    timeout: AtomicU32,
    /// Failures since the last success. It is not exact when requests end concurrently.
    streak: AtomicU32,
    latency: AtomicU64,
    failure: AtomicU64,
    epoch: Moment,
}

/// Units of `flow`.
const IN_FLIGHT: u64 = 1;
const SUCCESS: u64 = 1 << 24;

impl EndpointStats {
    pub(crate) fn new() -> Self {
        Self {
            flow: AtomicU64::new(0),
            cancelled: AtomicU32::new(0),
            application: AtomicU32::new(0),
            overload: AtomicU32::new(0),
            transport: AtomicU32::new(0),
            timeout: AtomicU32::new(0),
            streak: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            failure: AtomicU64::new(0),
            epoch: Instant::now().into(),
        }
    }

    /// Returns the number of requests in flight: picked, and neither finished nor dropped.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        (self.flow.load(Ordering::Relaxed) & (SUCCESS - 1)) as u32
    }

    /// Returns how many requests ended in which outcome.
    #[must_use]
    pub fn outcomes(&self) -> OutcomeCounts {
        let small = |count: &AtomicU32| u64::from(count.load(Ordering::Relaxed));
        OutcomeCounts {
            success: self.flow.load(Ordering::Relaxed) / SUCCESS,
            application: small(&self.application),
            overload: small(&self.overload),
            transport: small(&self.transport),
            timeout: small(&self.timeout),
            cancelled: small(&self.cancelled),
        }
    }

    #[inline]
    pub(crate) fn successes(&self) -> u64 {
        self.flow.load(Ordering::Relaxed) / SUCCESS
    }

    /// Returns the number of failures since the last success. Cancelled requests do not count.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.streak.load(Ordering::Relaxed)
    }

    /// Resets consecutive failures and the failure estimate, but not the counts: a stage has
    /// readmitted the endpoint.
    pub(crate) fn forgive(&self) {
        self.streak.store(0, Ordering::Relaxed);
        self.failure.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn begin(&self) {
        self.flow.fetch_add(IN_FLIGHT, Ordering::Relaxed);
    }

    /// Removes a request that was not sent from those in flight.
    pub(crate) fn abandon(&self) {
        self.flow.fetch_sub(IN_FLIGHT, Ordering::Relaxed);
    }

    /// Counts a request out of those in flight, and its success in.
    #[inline]
    pub(crate) fn succeed(&self) {
        // Loads first: a store on each success would take the cache line from other cores.
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
        self.flow.fetch_add(SUCCESS - IN_FLIGHT, Ordering::Relaxed);
    }

    pub(crate) fn end(&self, outcome: &Outcome) {
        let other = match outcome {
            Outcome::Success => return self.succeed(),
            Outcome::ApplicationError => &self.application,
            Outcome::Overload { .. } => &self.overload,
            Outcome::TransportFailure => &self.transport,
            Outcome::Timeout => &self.timeout,
            Outcome::Cancelled => &self.cancelled,
        };
        other.fetch_add(1, Ordering::Relaxed);
        if outcome.is_failure() {
            self.streak.fetch_add(1, Ordering::Relaxed);
        }
        self.flow.fetch_sub(IN_FLIGHT, Ordering::Relaxed);
    }

    /// Returns the latency estimate, which `load` maintains.
    pub(crate) fn latency_cell(&self) -> &AtomicU64 {
        &self.latency
    }

    /// Returns true if the failure estimate is above 0. The value is in the upper half of the word,
    /// the time in the lower one.
    #[inline]
    pub(crate) fn has_failures(&self) -> bool {
        self.failure.load(Ordering::Relaxed) >> 32 != 0
    }

    /// Returns the failure estimate, which `load` maintains.
    pub(crate) fn failure_cell(&self) -> &AtomicU64 {
        &self.failure
    }

    /// Returns the age of these stats at `now` in nanoseconds. It is at least 1, also before they
    /// began, because 0 stands for "not measured".
    #[inline]
    pub(crate) fn age(&self, now: Instant) -> u64 {
        self.age_at(now.into())
    }

    #[inline]
    pub(crate) fn age_at(&self, now: Moment) -> u64 {
        now.since(self.epoch).max(1)
    }

    /// Returns the instant at which these stats had the given age in nanoseconds.
    pub(crate) fn at(&self, age: u64) -> Instant {
        self.epoch.after(age).instant()
    }

    /// Returns the age of these stats when `others` had the given age; 0, which is no age, stays 0.
    pub(crate) fn age_of(&self, age: u64, others: &Self) -> u64 {
        match age {
            0 => 0,
            _ => self.age_at(others.epoch.after(age)),
        }
    }
}

/// Counts attempts by their [`Outcome`].
///
/// Successes wrap around at 2^40, the others at 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OutcomeCounts {
    /// [`Outcome::Success`].
    pub success: u64,
    /// [`Outcome::ApplicationError`].
    pub application: u64,
    /// [`Outcome::Overload`].
    pub overload: u64,
    /// [`Outcome::TransportFailure`].
    pub transport: u64,
    /// [`Outcome::Timeout`].
    pub timeout: u64,
    /// [`Outcome::Cancelled`].
    pub cancelled: u64,
}

impl OutcomeCounts {
    /// Returns the number of failed attempts: all but successes and cancellations.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.application + self.overload + self.transport + self.timeout
    }

    /// Returns the difference to an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let small = |now: u64, then: u64| u64::from((now as u32).wrapping_sub(then as u32));
        Self {
            success: self.success.wrapping_sub(earlier.success) % (1 << 40),
            application: small(self.application, earlier.application),
            overload: small(self.overload, earlier.overload),
            transport: small(self.transport, earlier.transport),
            timeout: small(self.timeout, earlier.timeout),
            cancelled: small(self.cancelled, earlier.cancelled),
        }
    }

    /// Returns the number of all finished attempts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.success + self.failures() + self.cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_fill_one_cache_line() {
        assert_eq!((size_of::<EndpointStats>(), align_of::<EndpointStats>()), (64, 64));
    }
}
