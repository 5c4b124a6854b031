use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use crate::{
    endpoint::EndpointStats,
    health::{CircuitBreaker, stage::members::Id},
    outcome::{Meter, Outcome, Sample},
};

/// What one circuit has seen, counted on the path of requests and without a lock.
#[derive(Debug)]
pub(super) struct Circuit {
    id: Id,
    breaker: CircuitBreaker,
    calls: UnboundedSender<(Id, CircuitEvent)>,
    in_a_row: AtomicU32,
    /// Of this half of the window and of the one before: requests, and failures among them.
    requests: [AtomicU32; 2],
    failures: [AtomicU32; 2],
    /// It has called; nothing counts until it is closed.
    tripped: AtomicBool,
    /// The age of the vitals from which on requests are trials, 0 if the circuit is not half-open.
    trial: AtomicU64,
    passed: AtomicU32,
}

/// A call to the stage.
#[derive(Clone, Copy, Debug)]
pub(super) enum CircuitEvent {
    InARow(u32),
    Share {
        failures: u32,
        requests: u32,
    },
    TrialsPassed,
    TrialFailed,
    /// The caller of a trial gave it up: another request may go.
    TrialGivenUp,
}

impl Circuit {
    pub(super) fn new(
        id: Id,
        breaker: CircuitBreaker,
        calls: UnboundedSender<(Id, CircuitEvent)>,
    ) -> Self {
        Self {
            id,
            breaker,
            calls,
            in_a_row: AtomicU32::new(0),
            requests: Default::default(),
            failures: Default::default(),
            tripped: AtomicBool::new(false),
            trial: AtomicU64::new(0),
            passed: AtomicU32::new(0),
        }
    }

    /// Half of the window is over.
    pub(super) fn move_on(&self) {
        for [now, before] in [&self.requests, &self.failures] {
            before.store(now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(super) fn half_open(&self, stats: &EndpointStats, now: Instant) {
        self.passed.store(0, Ordering::Relaxed);
        self.trial.store(stats.age(now), Ordering::Release);
    }

    /// Counts from nothing.
    pub(super) fn close(&self) {
        self.trial.store(0, Ordering::Release);
        self.in_a_row.store(0, Ordering::Relaxed);
        self.requests
            .iter()
            .chain(&self.failures)
            .for_each(|count| count.store(0, Ordering::Relaxed));
        self.tripped.store(false, Ordering::Release);
    }

    fn call(&self, call: CircuitEvent) {
        // Nobody hears it if the stage is gone.
        let _ = self.calls.send((self.id, call));
    }

    fn count(&self, failed: bool) {
        if self.tripped.load(Ordering::Relaxed) {
            return;
        }
        let sum = |of: &[AtomicU32; 2]| {
            of[0].load(Ordering::Relaxed).wrapping_add(of[1].load(Ordering::Relaxed))
        };
        self.requests[0].fetch_add(1, Ordering::Relaxed);
        if !failed {
            if self.in_a_row.load(Ordering::Relaxed) != 0 {
                self.in_a_row.store(0, Ordering::Relaxed);
            }
            return;
        }
        self.failures[0].fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let (requests, failures) = (sum(&self.requests), sum(&self.failures));
        let share = f64::from(failures) * 100.0 / f64::from(requests.max(1));
        let call = if self.breaker.in_a_row.is_some_and(|limit| in_a_row >= limit) {
            CircuitEvent::InARow(in_a_row)
        } else if requests >= self.breaker.min_requests && share >= self.breaker.percent {
            CircuitEvent::Share { failures, requests }
        } else {
            return;
        };
        if !self.tripped.swap(true, Ordering::AcqRel) {
            self.call(call);
        }
    }

    fn judge_trial(&self, sample: &Sample<'_>, failed: bool) {
        let since = self.trial.load(Ordering::Acquire);
        if since == 0 || sample.start().nanos() < since {
            return;
        }
        let unanswered = !sample.has_response();
        let verdict = if unanswered && matches!(sample.outcome(), Outcome::Cancelled) {
            return self.call(CircuitEvent::TrialGivenUp);
        } else if failed {
            CircuitEvent::TrialFailed
        } else if self.passed.fetch_add(1, Ordering::AcqRel) + 1 == self.breaker.trials {
            CircuitEvent::TrialsPassed
        } else {
            return;
        };
        if self.trial.compare_exchange(since, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.call(verdict);
        }
    }
}

impl Meter for Circuit {
    /// While it is half-open, trials are told from earlier requests by their starts.
    fn needs_latency(&self) -> bool {
        self.trial.load(Ordering::Relaxed) > 0
    }

    fn record(&self, _vitals: &EndpointStats, sample: &Sample<'_>) {
        let failed = match sample.outcome() {
            Outcome::ApplicationError | Outcome::TransportFailure | Outcome::Timeout => true,
            Outcome::Success => false,
            // It began well, or it would be a failure.
            Outcome::Cancelled if sample.has_response() => false,
            Outcome::Overload { .. } | Outcome::Cancelled => {
                return self.judge_trial(sample, false);
            }
        };
        self.count(failed);
        self.judge_trial(sample, failed);
    }
}
