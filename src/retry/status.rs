use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::RetryDecision;
use crate::{escape::Escaped, outcome::Outcome};

counts! {
    /// Counts by how the attempt failed that led to a retry or a failover.
    pub struct FailureCounts, FailureCounters by FailureReason {
        /// There was no response: connecting, sending or receiving failed, and the endpoint may
        /// have processed the request ([`Outcome::TransportFailure`]).
        transport: Transport,
        /// There was no response within a time limit ([`Outcome::Timeout`]).
        timeout: Timeout,
        /// The endpoint responded that it has too much to do ([`Outcome::Overload`]).
        overload: Overload,
        /// The endpoint responded that it failed ([`Outcome::ApplicationError`]). Also counts an
        /// outcome that a policy from outside this crate retries although it is no failure.
        application: Application,
        /// The endpoint refused the request without processing it ([`RetryDecision::Refused`]).
        refused: Refused,
        /// Nothing was processed, and nothing is known of an overload ([`RetryDecision::Unsent`]).
        unsent: Unsent,
    }
}

impl FailureReason {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::TransportFailure => Self::Transport,
            Outcome::Timeout => Self::Timeout,
            Outcome::Overload { .. } => Self::Overload,
            Outcome::ApplicationError | Outcome::Success | Outcome::Cancelled => Self::Application,
        }
    }

    /// Returns `None` for a final result.
    pub(crate) fn of_decision(decision: &RetryDecision) -> Option<Self> {
        match decision {
            RetryDecision::Final => None,
            RetryDecision::Failed(outcome) => Some(Self::of(outcome)),
            RetryDecision::Refused(_) => Some(Self::Refused),
            RetryDecision::Unsent => Some(Self::Unsent),
        }
    }
}

counts! {
    /// Counts requests by what ended their retries. Each counts once, under what was found first.
    pub struct StopCounts, StopCounters by StopReason {
        /// An endpoint may have processed the request, which is not
        /// [`Idempotent`](crate::retry::RetrySafety::Idempotent).
        not_repeatable: NotRepeatable,
        /// The maximum number of attempts was made.
        attempts: Attempts,
        /// The balance of the budget was too low.
        budget: Budget,
        /// Every endpoint had been tried, and the last one asked for a longer wait than
        /// [`max_pushback`](crate::retry::RetryBuilder::max_pushback).
        pushback: Pushback,
        /// The next attempt would have begun after the deadline, or the
        /// [`overall`](crate::retry::RetryBuilder::overall) time ended during a retry or a wait.
        deadline: Deadline,
        /// The service was not ready for the next attempt within the time that a failed response
        /// may be held, or its `poll_ready` failed.
        not_ready: NotReady,
        /// The request could no longer be copied, for example because more of its body was sent
        /// than can be replayed.
        not_copyable: NotCopyable,
        /// A retry ended with an error that is not retried: a rejection by a limit or by the
        /// balancer, or an error of the caller.
        final_error: FinalError,
    }
}

/// The counters of a [`RetryLayer`](crate::retry::RetryLayer), over all of its services.
///
/// They concern requests of which an attempt failed, by the decision of the
/// [`RetryPolicy`](crate::retry::RetryPolicy). A request whose first result is final is not
/// counted. Neither is one whose result the layer does not examine: with
/// [`RetrySafety::Never`](crate::retry::RetrySafety::Never), or not copyable from the start.
///
/// `failed` is the sum of `succeeded`, `stopped`, `abandoned` and the requests that are still being
/// retried.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RetryStatus {
    /// The name of the layer.
    pub name: Arc<str>,
    /// Requests of which at least one attempt failed, counted when the first one fails.
    pub failed: u64,
    /// Retries by what failed before, counted when the service is called again. A backoff that has
    /// not ended is not counted; a retry that the balancer or a limit below rejects is.
    pub retries: FailureCounts,
    /// Requests that a retry ended with a response that is final, usually a success.
    pub succeeded: u64,
    /// Requests whose failure went to the caller, or whose retry was cancelled by the overall time
    /// limit.
    pub stopped: StopCounts,
    /// Requests that the caller dropped after a failed attempt: during a retry or a wait for one.
    pub abandoned: u64,
}

impl fmt::Display for RetryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, failed, retries, succeeded, stopped, abandoned } = self;
        write!(
            f,
            "{}: {failed} requests with failures, {succeeded} succeeded, {} stopped ({stopped}), \
             {abandoned} abandoned; {} retries ({retries})",
            Escaped(name),
            stopped.total(),
            retries.total(),
        )
    }
}

/// The atomics behind a [`RetryStatus`].
#[derive(Debug)]
pub(super) struct RetryCounters {
    name: Arc<str>,
    failed: AtomicU64,
    retries: FailureCounters,
    succeeded: AtomicU64,
    stopped: StopCounters,
    abandoned: AtomicU64,
}

impl RetryCounters {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            failed: AtomicU64::new(0),
            retries: FailureCounters::default(),
            succeeded: AtomicU64::new(0),
            stopped: StopCounters::default(),
            abandoned: AtomicU64::new(0),
        }
    }

    pub(super) fn status(&self) -> RetryStatus {
        // Ends are read before beginnings, so that no request has ended that has not begun.
        let (succeeded, stopped) = (self.succeeded.load(Relaxed), self.stopped.read());
        let abandoned = self.abandoned.load(Relaxed);
        let failed = self.failed.load(Relaxed);
        let (name, retries) = (Arc::clone(&self.name), self.retries.read());
        RetryStatus { name, failed, retries, succeeded, stopped, abandoned }
    }
}

/// A request after its first failure. Counts how it ends, once; dropped without an end, it counts
/// as abandoned.
#[derive(Debug)]
pub(super) struct FailedRequest {
    counters: Arc<RetryCounters>,
    /// What failed last.
    pub(super) reason: FailureReason,
    is_counted: bool,
}

impl FailedRequest {
    pub(super) fn new(counters: &Arc<RetryCounters>, reason: FailureReason) -> Self {
        counters.failed.fetch_add(1, Relaxed);
        Self { counters: Arc::clone(counters), reason, is_counted: false }
    }

    pub(super) fn count_retry(&self) {
        self.counters.retries.count(self.reason);
    }

    /// Ends with the result of a retry that is final.
    pub(super) fn finish(&mut self, is_ok: bool) {
        if !is_ok {
            self.stop(StopReason::FinalError);
        } else if !std::mem::replace(&mut self.is_counted, true) {
            self.counters.succeeded.fetch_add(1, Relaxed);
        }
    }

    /// Ends without a further retry.
    pub(super) fn stop(&mut self, reason: StopReason) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.counters.stopped.count(reason);
        }
    }
}

impl Drop for FailedRequest {
    fn drop(&mut self) {
        if !self.is_counted {
            self.counters.abandoned.fetch_add(1, Relaxed);
        }
    }
}

/// The counters and the balance of a [`Budget`](crate::retry::Budget), which all handles share.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BudgetStatus {
    /// The name of the budget.
    pub name: Arc<str>,
    /// How many retries and hedges could be paid for at this moment.
    pub balance: f64,
    /// Requests that have deposited their share, whether or not it has expired.
    pub deposits: u64,
    /// Retries and hedges that were paid for, including those that were refunded later.
    pub spent: u64,
    /// Hedges whose payment was returned, because the balancer or a limit rejected them.
    pub refunded: u64,
    /// Retries and hedges that were not sent because the balance was too low.
    pub refused: u64,
    /// The setting: how much of a retry each request deposits.
    pub share: f64,
    /// The setting: how many retries per second are allowed in addition.
    pub floor: f64,
    /// The setting: how long unused deposits are kept. Serialized in seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub window: Duration,
}

impl fmt::Display for BudgetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, balance, deposits, spent, refunded, refused, share, floor, window } = self;
        write!(
            f,
            "{}: {balance:.1} left, {spent} spent ({refunded} refunded), {refused} refused, of {:.1} % \
             of {deposits} requests and {floor} per second, kept for {window:?}",
            Escaped(name),
            share * 100.0,
        )
    }
}
