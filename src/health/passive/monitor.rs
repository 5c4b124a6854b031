use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use super::{
    consecutive::ConsecutiveFailures,
    severity::{RecentResults, RequestResult, Severity},
    trial::Trial,
};
use crate::{
    endpoint::{EndpointStats, OutcomeCounts},
    health::stage::members::Id,
    histogram::Histogram,
    outcome::{Meter, Outcome, Sample, Start},
};

/// Monitors the requests to one endpoint on their path, without a lock. Sends the stage an event
/// when it must act at once.
#[derive(Debug)]
pub(crate) struct PassiveMonitor {
    id: Id,
    events: UnboundedSender<(Id, MonitorEvent)>,
    config: MonitorConfig,
    failed_responses: ConsecutiveFailures,
    unanswered_requests: ConsecutiveFailures,
    recent: RecentResults,
    /// Responses that began well and whose bodies were not read to the end. The endpoint's
    /// statistics count them as cancelled.
    unread: AtomicU32,
    trial: Trial,
    latencies: Option<Histogram>,
    /// A moving average of the latency in nanoseconds; 0 before the first success.
    usual_nanos: AtomicU64,
    /// Low half: responses that have begun and not ended. High half: all responses that have begun.
    /// One word, so that a reader never sees one without the other.
    responses: AtomicU64,
}

/// What a monitor records, and the numbers of consecutive failures at which it sends an event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MonitorConfig {
    pub(crate) failed_responses: Option<u32>,
    pub(crate) unanswered_requests: Option<u32>,
    pub(crate) stalls: bool,
    pub(crate) latency: bool,
    pub(crate) trials: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MonitorEvent {
    /// The endpoint has sent this many consecutive responses that say that it failed.
    FailedResponses(u32),
    /// This many consecutive requests have got no response.
    UnansweredRequests(u32),
    TrialPassed,
    TrialFailed,
    /// The caller gave up the request of the trial before its response began.
    TrialAbandoned,
}

/// Latencies up to 2 minutes, and their median to within 13 %.
const OCTAVES: u32 = 27;
const STEP_BITS: u32 = 2;
/// One in the high half of [`PassiveMonitor::responses`].
const RESPONSE_BEGUN: u64 = 1 << 32;

impl PassiveMonitor {
    pub(crate) fn new(
        id: Id,
        config: MonitorConfig,
        events: UnboundedSender<(Id, MonitorEvent)>,
    ) -> Self {
        Self {
            id,
            events,
            config,
            failed_responses: ConsecutiveFailures::default(),
            unanswered_requests: ConsecutiveFailures::default(),
            recent: RecentResults::default(),
            unread: AtomicU32::new(0),
            trial: Trial::default(),
            latencies: config.latency.then(|| Histogram::new(OCTAVES, STEP_BITS)),
            usual_nanos: AtomicU64::new(0),
            responses: AtomicU64::new(0),
        }
    }

    /// Returns how bad the endpoint is, by its last requests.
    pub(crate) fn severity(&self) -> Severity {
        self.recent.severity()
    }

    /// Forgets the last requests: the endpoint has shown that it is healthy.
    pub(crate) fn reset_severity(&self) {
        self.recent.reset();
    }

    /// Forgets what was counted before the endpoint returned. Its severity stays.
    pub(crate) fn reset(&self) {
        self.failed_responses.reset();
        self.unanswered_requests.reset();
        self.trial.end();
        self.take_latencies();
        self.take_unread();
    }

    /// Lets the next request that begins decide.
    pub(crate) fn begin_trial(&self, stats: &EndpointStats, now: Instant) {
        self.trial.begin(stats, now);
    }

    /// Returns how many good responses were not read to the end since the last call.
    pub(crate) fn take_unread(&self) -> u32 {
        self.unread.swap(0, Ordering::Relaxed)
    }

    /// Returns how many latencies were measured since the last call, and their median.
    pub(crate) fn take_latencies(&self) -> (u32, Duration) {
        self.latencies.as_ref().map_or((0, Duration::ZERO), Histogram::take_median)
    }

    /// Returns a moving average of the latency.
    pub(crate) fn usual_latency(&self) -> Option<Duration> {
        let usual = self.usual_nanos.load(Ordering::Relaxed);
        (usual > 0).then(|| Duration::from_nanos(usual))
    }

    /// Returns how many requests wait for their responses to begin, and a number that changes each
    /// time that a response begins or ends.
    pub(crate) fn progress(&self, stats: &EndpointStats) -> (u32, u64) {
        let responses = self.responses.load(Ordering::Relaxed);
        let waiting = stats.outstanding().saturating_sub(responses as u32);
        let OutcomeCounts { success, application, overload, .. } = stats.outcomes();
        (waiting, success.wrapping_add(application + overload + (responses >> 32)))
    }

    fn send(&self, event: MonitorEvent) {
        // Fails if the stage was dropped, which is not an error: requests may outlive it.
        let _ = self.events.send((self.id, event));
    }

    fn record_success(&self, sample: &Sample<'_>) {
        self.end_failures();
        let Some(nanos) = sample.latency_nanos() else { return };
        if let Some(latencies) = &self.latencies {
            latencies.record(nanos);
        }
        if self.config.stalls {
            // Load and store instead of one atomic update: a measurement that another thread
            // overwrites does not matter to an average.
            let usual = self.usual_nanos.load(Ordering::Relaxed);
            let next = if usual == 0 { nanos } else { usual - usual / 8 + nanos / 8 };
            self.usual_nanos.store(next.max(1), Ordering::Relaxed);
        }
    }

    fn end_failures(&self) {
        self.failed_responses.reset();
        self.unanswered_requests.reset();
        self.recent.record(RequestResult::Success);
    }

    fn record_trial(&self, sample: &Sample<'_>) {
        let Some(trial) = self.trial.of(sample) else { return };
        let event = match sample.outcome() {
            // Decides nothing: the stage allows another request.
            Outcome::Cancelled if !sample.has_response() => {
                return self.send(MonitorEvent::TrialAbandoned);
            }
            Outcome::Success | Outcome::Overload { .. } | Outcome::Cancelled => {
                MonitorEvent::TrialPassed
            }
            _ => MonitorEvent::TrialFailed,
        };
        if self.trial.decide(trial) {
            self.send(event);
        }
    }
}

impl Meter for PassiveMonitor {
    fn record(&self, _stats: &EndpointStats, sample: &Sample<'_>) {
        if self.config.stalls && sample.had_first_byte() {
            self.responses.fetch_sub(1, Ordering::Relaxed);
        }
        match sample.outcome() {
            Outcome::Success => self.record_success(sample),
            Outcome::ApplicationError => {
                self.unanswered_requests.reset();
                self.recent.record(RequestResult::Failure);
                let threshold = self.config.failed_responses;
                if let Some(failures) = self.failed_responses.increment_to(threshold) {
                    self.send(MonitorEvent::FailedResponses(failures));
                }
            }
            // A response, so requests are answered; but it says nothing about the endpoint's
            // health.
            Outcome::Overload { .. } => self.unanswered_requests.reset(),
            outcome @ (Outcome::TransportFailure | Outcome::Timeout) => {
                self.recent.record(match outcome {
                    Outcome::Timeout => RequestResult::Timeout,
                    _ => RequestResult::Failure,
                });
                let threshold = self.config.unanswered_requests;
                if let Some(failures) = self.unanswered_requests.increment_to(threshold) {
                    self.send(MonitorEvent::UnansweredRequests(failures));
                }
            }
            // The response began well, otherwise the outcome would be a failure. Clients that do
            // not read bodies have many of these.
            Outcome::Cancelled if sample.has_response() => {
                self.unread.fetch_add(1, Ordering::Relaxed);
                self.end_failures();
            }
            Outcome::Cancelled => {}
        }
        if self.config.trials {
            self.record_trial(sample);
        }
    }

    fn needs_latency(&self) -> bool {
        self.config.latency || self.config.stalls || self.trial.is_running()
    }

    fn first_byte(&self, _stats: &EndpointStats, _start: Start) {
        self.responses.fetch_add(RESPONSE_BEGUN | 1, Ordering::Relaxed);
    }

    fn needs_first_bytes(&self) -> bool {
        self.config.stalls
    }
}
