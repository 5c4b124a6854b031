use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::{histogram::Histogram, members::Id};
use crate::{
    endpoint::Vitals,
    outcome::{Meter, Outcome, Sample, Start},
};

/// Watches what the requests to one endpoint see, on their path and without a lock; calls the stage
/// when something must be done at once.
#[derive(Debug)]
pub(super) struct Watch {
    id: Id,
    alarms: UnboundedSender<Alarm>,
    limits: Limits,
    /// Failures in a row: responses that say so, and requests that got none.
    responses: AtomicU32,
    unanswered: AtomicU32,
    /// Responses that began well and were not read to their end: no outcome counts them.
    unread: AtomicU32,
    /// The age of the vitals from which on a request is the trial's; 0 if there is no trial.
    trial: AtomicU64,
    latencies: Option<Histogram>,
    /// About what latency is, in nanoseconds; 0 if not known.
    usual: AtomicU64,
    /// Requests whose response has not begun, and the age of the vitals at the last sign of life, or
    /// when the first of them began if that is later.
    waiting: AtomicU32,
    silent_since: AtomicU64,
}

/// Failures in a row that call for action.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) responses: Option<u32>,
    pub(super) unanswered: Option<u32>,
    pub(super) stalls: bool,
    pub(super) latency: bool,
    pub(super) trials: bool,
}

/// A call to the stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    pub(super) id: Id,
    pub(super) what: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    FailedResponses(u32),
    Unanswered(u32),
    TrialPassed,
    TrialFailed,
    /// The trial's request was given up by its caller.
    TrialOpen,
}

impl Watch {
    pub(super) fn new(id: Id, limits: Limits, alarms: UnboundedSender<Alarm>) -> Self {
        Self {
            id,
            alarms,
            limits,
            responses: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            trial: AtomicU64::new(0),
            latencies: limits.latency.then(Histogram::new),
            usual: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            silent_since: AtomicU64::new(0),
        }
    }

    /// Counts from nothing.
    pub(super) fn start_over(&self) {
        self.responses.store(0, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
        self.trial.store(0, Ordering::Release);
    }

    /// The next request that begins decides.
    pub(super) fn begin_trial(&self, vitals: &Vitals, now: Instant) {
        let age = vitals.age(now);
        self.silent_since.fetch_max(age, Ordering::Relaxed);
        self.trial.store(age, Ordering::Release);
    }

    /// How many responses began well that nobody read to the end; starts over.
    pub(super) fn take_unread(&self) -> u32 {
        self.unread.swap(0, Ordering::Relaxed)
    }

    /// How many latencies were measured, and their median.
    pub(super) fn take_latencies(&self) -> (u32, Duration) {
        self.latencies.as_ref().map_or((0, Duration::ZERO), Histogram::take)
    }

    /// About what latency is.
    pub(super) fn usual(&self) -> Option<Duration> {
        let usual = self.usual.load(Ordering::Relaxed);
        (usual > 0).then(|| Duration::from_nanos(usual))
    }

    /// How many requests wait, and how long there has been no sign of life.
    pub(super) fn silence(&self, vitals: &Vitals, now: Instant) -> (u32, Duration) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let since = self.silent_since.load(Ordering::Relaxed);
        (waiting, Duration::from_nanos(vitals.age(now).saturating_sub(since)))
    }

    fn call(&self, what: Event) {
        // Nobody hears it if the stage is gone.
        let _ = self.alarms.send(Alarm { id: self.id, what });
    }

    fn no_longer_waiting(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    fn sign_of_life(&self, age: u64) {
        // Two threads may undo each other's; about is enough.
        if self.silent_since.load(Ordering::Relaxed) < age {
            self.silent_since.store(age, Ordering::Relaxed);
        }
    }

    fn succeeded(&self, sample: &Sample<'_>) {
        self.end_rows();
        let Some(latency) = sample.latency() else { return };
        if let Some(latencies) = &self.latencies {
            latencies.record(latency);
        }
        if self.limits.stalls {
            // Two threads may undo each other's; about is enough.
            let nanos = (latency.as_nanos() as u64).max(1);
            let usual = self.usual.load(Ordering::Relaxed);
            let moved = if usual == 0 { nanos } else { usual - usual / 8 + nanos / 8 };
            self.usual.store(moved.max(1), Ordering::Relaxed);
        }
    }

    fn end_rows(&self) {
        forget(&self.responses);
        forget(&self.unanswered);
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

impl Meter for Watch {
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>) {
        if self.limits.stalls {
            if !sample.had_first_byte() {
                self.no_longer_waiting();
            }
            if !matches!(sample.outcome(), Outcome::Cancelled) && !sample.had_first_byte() {
                self.sign_of_life(sample.age(vitals));
            }
        }
        match sample.outcome() {
            Outcome::Success => self.succeeded(sample),
            Outcome::ApplicationError => {
                forget(&self.unanswered);
                if let Some(failures) = count(&self.responses, self.limits.responses) {
                    self.call(Event::FailedResponses(failures));
                }
            }
            Outcome::Overload { .. } => forget(&self.unanswered),
            Outcome::TransportFailure | Outcome::Timeout => {
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

    fn needs_latency(&self) -> bool {
        self.limits.latency || self.limits.stalls || self.limits.trials
    }

    fn start(&self, _vitals: &Vitals, start: Start) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.sign_of_life(start.nanos());
        }
    }

    fn first_byte(&self, vitals: &Vitals, _start: Start) {
        self.no_longer_waiting();
        self.sign_of_life(vitals.age(Instant::now()));
    }

    fn needs_starts(&self) -> bool {
        self.limits.stalls
    }
}
