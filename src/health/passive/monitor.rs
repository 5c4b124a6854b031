use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::{
    histogram::Histogram,
    severity::{RecentOutcomes, RequestResult, Severity},
};
use crate::{
    endpoint::{EndpointStats, OutcomeCounts},
    health::stage::members::Id,
    outcome::{Meter, Outcome, Sample, Start},
};

/// Watches what the requests to one endpoint see, on their path and without a lock; calls the stage
/// when something must be done at once.
#[derive(Debug)]
pub(crate) struct PassiveMonitor {
    id: Id,
    alarms: UnboundedSender<Alarm>,
    limits: MonitorConfig,
    /// Failures in a row: responses that say so, and requests that got none.
    responses: AtomicU32,
    unanswered: AtomicU32,
    recent: RecentOutcomes,
    /// Responses that began well and were not read to their end: no outcome counts them.
    unread: AtomicU32,
    /// The age of the vitals from which on a request is the trial's; 0 if there is no trial.
    trial: AtomicU64,
    latencies: Option<Histogram>,
    /// About what latency is, in nanoseconds; 0 if not known.
    usual: AtomicU64,
    /// Responses that have begun and not ended, in the low half, and all that have begun.
    begun: AtomicU64,
}

/// Failures in a row that call for action.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MonitorConfig {
    pub(crate) responses: Option<u32>,
    pub(crate) unanswered: Option<u32>,
    pub(crate) stalls: bool,
    pub(crate) latency: bool,
    pub(crate) trials: bool,
}

/// A call to the stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    pub(crate) id: Id,
    pub(crate) what: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    FailedResponses(u32),
    Unanswered(u32),
    TrialPassed,
    TrialFailed,
    /// The trial's request was given up by its caller.
    TrialOpen,
}

impl PassiveMonitor {
    pub(crate) fn new(id: Id, limits: MonitorConfig, alarms: UnboundedSender<Alarm>) -> Self {
        Self {
            id,
            alarms,
            limits,
            responses: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            recent: RecentOutcomes::default(),
            unread: AtomicU32::new(0),
            trial: AtomicU64::new(0),
            latencies: limits.latency.then(Histogram::new),
            usual: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// How bad the endpoint is by its last requests.
    pub(crate) fn severity(&self) -> Severity {
        self.recent.severity()
    }

    /// The endpoint has shown that it is well: how bad it was is forgotten.
    pub(crate) fn forget_severity(&self) {
        self.recent.forget();
    }

    /// Counts from nothing.
    pub(crate) fn start_over(&self) {
        self.responses.store(0, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
        self.trial.store(0, Ordering::Release);
    }

    /// The next request that begins decides.
    pub(crate) fn begin_trial(&self, stats: &EndpointStats, now: Instant) {
        self.trial.store(stats.age(now), Ordering::Release);
    }

    /// How many responses began well that nobody read to the end; starts over.
    pub(crate) fn take_unread(&self) -> u32 {
        self.unread.swap(0, Ordering::Relaxed)
    }

    /// How many latencies were measured, and their median.
    pub(crate) fn take_latencies(&self) -> (u32, Duration) {
        self.latencies.as_ref().map_or((0, Duration::ZERO), Histogram::take)
    }

    /// About what latency is.
    pub(crate) fn usual(&self) -> Option<Duration> {
        let usual = self.usual.load(Ordering::Relaxed);
        (usual > 0).then(|| Duration::from_nanos(usual))
    }

    /// How many requests wait for their responses to begin, and how many responses have begun or
    /// ended, which changes with each sign of life.
    pub(crate) fn pulse(&self, stats: &EndpointStats) -> (u32, u64) {
        let begun = self.begun.load(Ordering::Relaxed);
        let waiting = stats.outstanding().saturating_sub(begun as u32);
        let OutcomeCounts { success, application, overload, .. } = stats.outcomes();
        (waiting, success.wrapping_add(application + overload + (begun >> 32)))
    }

    fn call(&self, what: Event) {
        // Nobody hears it if the stage is gone.
        let _ = self.alarms.send(Alarm { id: self.id, what });
    }

    fn succeeded(&self, sample: &Sample<'_>) {
        self.end_rows();
        let Some(nanos) = sample.latency_nanos() else { return };
        if let Some(latencies) = &self.latencies {
            latencies.record(nanos);
        }
        if self.limits.stalls {
            // Two threads may undo each other's; about is enough.
            let usual = self.usual.load(Ordering::Relaxed);
            let moved = if usual == 0 { nanos } else { usual - usual / 8 + nanos / 8 };
            self.usual.store(moved.max(1), Ordering::Relaxed);
        }
    }

    fn end_rows(&self) {
        forget(&self.responses);
        forget(&self.unanswered);
        self.recent.record(RequestResult::Success);
    }

    fn judge_trial(&self, sample: &Sample<'_>) {
        let since = self.trial.load(Ordering::Acquire);
        if since == 0 || sample.start().nanos() < since {
            return;
        }
        let what = match sample.outcome() {
            Outcome::Cancelled if !sample.has_response() => return self.call(Event::TrialOpen),
            Outcome::Success | Outcome::Overload { .. } | Outcome::Cancelled => Event::TrialPassed,
            _ => Event::TrialFailed,
        };
        // The first verdict is the one that counts.
        if self.trial.compare_exchange(since, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.call(what);
        }
    }
}

/// One more that has begun.
const BEGUN: u64 = 1 << 32;

/// Counts one more failure; tells how many it is at each multiple of the limit.
fn count(failures: &AtomicU32, limit: Option<u32>) -> Option<u32> {
    let limit = limit?;
    let failures = failures.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    (failures % limit == 0).then_some(failures)
}

/// Mostly there is nothing to forget, and the cache line stays shared.
fn forget(failures: &AtomicU32) {
    if failures.load(Ordering::Relaxed) != 0 {
        failures.store(0, Ordering::Relaxed);
    }
}

impl Meter for PassiveMonitor {
    fn record(&self, _vitals: &EndpointStats, sample: &Sample<'_>) {
        if self.limits.stalls && sample.had_first_byte() {
            self.begun.fetch_sub(1, Ordering::Relaxed);
        }
        match sample.outcome() {
            Outcome::Success => self.succeeded(sample),
            Outcome::ApplicationError => {
                forget(&self.unanswered);
                self.recent.record(RequestResult::Failure);
                if let Some(failures) = count(&self.responses, self.limits.responses) {
                    self.call(Event::FailedResponses(failures));
                }
            }
            Outcome::Overload { .. } => forget(&self.unanswered),
            outcome @ (Outcome::TransportFailure | Outcome::Timeout) => {
                let timed_out = *outcome == Outcome::Timeout;
                self.recent.record(if timed_out {
                    RequestResult::Timeout
                } else {
                    RequestResult::Failure
                });
                if let Some(failures) = count(&self.unanswered, self.limits.unanswered) {
                    self.call(Event::Unanswered(failures));
                }
            }
            // It began well, or it would be a failure; who doesn't read bodies has many of these.
            Outcome::Cancelled if sample.has_response() => {
                self.unread.fetch_add(1, Ordering::Relaxed);
                self.end_rows();
            }
            Outcome::Cancelled => {}
        }
        if self.limits.trials {
            self.judge_trial(sample);
        }
    }

    /// While there is a trial, its requests are told from earlier ones by their starts.
    fn needs_latency(&self) -> bool {
        let on_trial = self.trial.load(Ordering::Relaxed) > 0;
        self.limits.latency || self.limits.stalls || on_trial
    }

    fn first_byte(&self, _vitals: &EndpointStats, _start: Start) {
        self.begun.fetch_add(BEGUN | 1, Ordering::Relaxed);
    }

    fn needs_first_bytes(&self) -> bool {
        self.limits.stalls
    }
}
