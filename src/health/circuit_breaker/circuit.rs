use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use crate::{
    endpoint::EndpointStats,
    health::{
        CircuitBreaker,
        passive::{consecutive::ConsecutiveFailures, trial::Trial},
        stage::members::Id,
    },
    outcome::{Meter, Outcome, Sample},
};

/// The meter of one circuit. Counts failures on the request path, without a lock.
#[derive(Debug)]
pub(super) struct Circuit {
    id: Id,
    breaker: CircuitBreaker,
    events: UnboundedSender<(Id, CircuitEvent)>,
    consecutive: ConsecutiveFailures,
    requests: WindowCount,
    failures: WindowCount,
    /// Set when a threshold was crossed, so that one event is sent. Nothing is counted until the
    /// circuit closes.
    tripped: AtomicBool,
    trial: Trial,
    /// Requests of the trial that have succeeded.
    passed: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CircuitEvent {
    ConsecutiveFailures(u32),
    FailureShare {
        failures: u32,
        requests: u32,
    },
    TrialPassed,
    TrialFailed,
    /// The caller of a trial request gave it up before its response began.
    TrialAbandoned,
}

/// A count over a window of two halves: the current one and the one before.
#[derive(Debug, Default)]
struct WindowCount([AtomicU32; 2]);

impl WindowCount {
    fn increment(&self) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        let [current, previous] = &self.0;
        current.load(Ordering::Relaxed).wrapping_add(previous.load(Ordering::Relaxed))
    }

    fn advance(&self) {
        let [current, previous] = &self.0;
        previous.store(current.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    fn reset(&self) {
        self.0.iter().for_each(|half| half.store(0, Ordering::Relaxed));
    }
}

impl Circuit {
    pub(super) fn new(
        id: Id,
        breaker: CircuitBreaker,
        events: UnboundedSender<(Id, CircuitEvent)>,
    ) -> Self {
        Self {
            id,
            breaker,
            events,
            consecutive: ConsecutiveFailures::default(),
            requests: WindowCount::default(),
            failures: WindowCount::default(),
            tripped: AtomicBool::new(false),
            trial: Trial::default(),
            passed: AtomicU32::new(0),
        }
    }

    /// Moves the window on by half.
    pub(super) fn advance_window(&self) {
        self.requests.advance();
        self.failures.advance();
    }

    pub(super) fn half_open(&self, stats: &EndpointStats, now: Instant) {
        // Before the trial begins: a request of the trial counts from 0.
        self.passed.store(0, Ordering::Relaxed);
        self.trial.begin(stats, now);
    }

    /// Closes the circuit and counts from 0.
    pub(super) fn close(&self) {
        self.trial.end();
        self.consecutive.reset();
        self.requests.reset();
        self.failures.reset();
        // Last: until then, late failures of the open circuit are not counted.
        self.tripped.store(false, Ordering::Release);
    }

    fn send(&self, event: CircuitEvent) {
        // Fails if the stage was dropped, which is not an error: requests may outlive it.
        let _ = self.events.send((self.id, event));
    }

    fn count(&self, failed: bool) {
        if self.tripped.load(Ordering::Relaxed) {
            return;
        }
        self.requests.increment();
        if !failed {
            return self.consecutive.reset();
        }
        self.failures.increment();
        let consecutive = self.consecutive.increment();
        let (requests, failures) = (self.requests.get(), self.failures.get());
        let percent = f64::from(failures) * 100.0 / f64::from(requests.max(1));
        let event = if self.breaker.consecutive_failures.is_some_and(|limit| consecutive >= limit) {
            CircuitEvent::ConsecutiveFailures(consecutive)
        } else if requests >= self.breaker.min_requests && percent >= self.breaker.percent {
            CircuitEvent::FailureShare { failures, requests }
        } else {
            return;
        };
        // Only the first of several threads that cross a threshold at the same time sends the
        // event.
        if !self.tripped.swap(true, Ordering::AcqRel) {
            self.send(event);
        }
    }

    fn record_trial(&self, sample: &Sample<'_>, failed: bool) {
        let Some(trial) = self.trial.of(sample) else { return };
        let event = if matches!(sample.outcome(), Outcome::Cancelled) && !sample.has_response() {
            return self.send(CircuitEvent::TrialAbandoned);
        } else if failed {
            CircuitEvent::TrialFailed
        } else if self.passed.fetch_add(1, Ordering::AcqRel) + 1 == self.breaker.trial_requests {
            CircuitEvent::TrialPassed
        } else {
            return;
        };
        if self.trial.decide(trial) {
            self.send(event);
        }
    }
}

impl Meter for Circuit {
    fn needs_latency(&self) -> bool {
        self.trial.is_running()
    }

    fn record(&self, _stats: &EndpointStats, sample: &Sample<'_>) {
        let failed = match sample.outcome() {
            Outcome::ApplicationError | Outcome::TransportFailure | Outcome::Timeout => true,
            Outcome::Success => false,
            // The response began well, otherwise the outcome would be a failure.
            Outcome::Cancelled if sample.has_response() => false,
            Outcome::Overload { .. } | Outcome::Cancelled => {
                return self.record_trial(sample, false);
            }
        };
        self.count(failed);
        self.record_trial(sample, failed);
    }
}
