use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::{endpoint::EndpointStats, outcome::Sample};

/// The trial of an endpoint: which requests belong to it, and whether it has been decided.
///
/// Holds the age of the endpoint's statistics, in nanoseconds, at which the trial began; 0 without
/// a trial. Requests that began before it do not count.
#[derive(Debug, Default)]
pub(crate) struct Trial(AtomicU64);

/// A trial that a request belongs to, by the time at which it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrialStart(u64);

impl Trial {
    pub(crate) fn begin(&self, stats: &EndpointStats, now: Instant) {
        // Release: a request of this trial sees what the stage reset before the trial began.
        self.0.store(stats.age(now), Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// True while starts of requests are needed, to tell those of the trial from earlier ones.
    pub(crate) fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Returns the trial that the request belongs to, if there is one.
    pub(crate) fn of(&self, sample: &Sample<'_>) -> Option<TrialStart> {
        let since = self.0.load(Ordering::Acquire);
        (since > 0 && sample.start().nanos() >= since).then_some(TrialStart(since))
    }

    /// Ends the trial `of` a request. False if another request has decided it, or a new one has
    /// begun.
    pub(crate) fn decide(&self, of: TrialStart) -> bool {
        self.0.compare_exchange(of.0, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
