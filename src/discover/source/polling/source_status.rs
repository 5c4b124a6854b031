use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::SourceError;
use crate::sync::{Mutex, lock};

/// A handle that reports the state of a source, above all when it last succeeded. Clones refer to
/// the same source.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    report: Mutex<SourceReport>,
    /// Set by [`SourceStatus::ask_again`] until the next poll starts.
    wanted: AtomicBool,
    waker: AtomicWaker,
}

/// The state of a source at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// The source's name.
    pub name: Arc<str>,
    /// When the last poll succeeded; `None` if none has.
    pub last_success: Option<Instant>,
    /// The number of endpoints in the last answer.
    pub endpoints: usize,
    /// The number of successful polls.
    pub successes: u64,
    /// The number of consecutive errors since the last success.
    pub failures: u32,
    /// The last of these errors; `None` if the last poll succeeded.
    pub last_error: Option<SourceError>,
}

impl SourceStatus {
    pub(super) fn new(name: Arc<str>) -> Self {
        let report = SourceReport {
            name,
            last_success: None,
            endpoints: 0,
            successes: 0,
            failures: 0,
            last_error: None,
        };
        let shared = Shared {
            report: Mutex::new(report),
            wanted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the whole state.
    #[must_use]
    pub fn report(&self) -> SourceReport {
        lock(&self.shared.report).clone()
    }

    /// Returns the age of the last answer, or `None` if there is no answer yet.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        Some(lock(&self.shared.report).last_success?.elapsed())
    }

    /// Polls the source early, for example when connections to endpoints fail. The poll starts as
    /// soon as the floor of the schedule has passed since the last answer. A delay after an error
    /// is not shortened.
    pub fn ask_again(&self) {
        self.shared.wanted.store(true, Ordering::Release);
        self.shared.waker.wake();
    }

    /// Returns whether an early poll is wanted. If not, `waker` is woken when one is.
    pub(super) fn is_wanted(&self, waker: &Waker) -> bool {
        // Registered before the flag is read: an `ask_again` between the two wakes the new waker.
        self.shared.waker.register(waker);
        self.shared.wanted.load(Ordering::Acquire)
    }

    /// Notes that a poll starts, which satisfies all earlier calls of
    /// [`ask_again`](Self::ask_again).
    pub(super) fn poll_started(&self) {
        self.shared.wanted.store(false, Ordering::Release);
    }

    /// Records a success; `endpoints` is `None` if they are unchanged.
    pub(super) fn succeeded(&self, endpoints: Option<usize>) {
        let mut report = lock(&self.shared.report);
        report.last_success = Some(Instant::now());
        report.endpoints = endpoints.unwrap_or(report.endpoints);
        report.successes += 1;
        (report.failures, report.last_error) = (0, None);
    }

    /// Records an error and returns the number of consecutive errors.
    pub(super) fn failed(&self, error: SourceError) -> u32 {
        let mut report = lock(&self.shared.report);
        report.failures = report.failures.saturating_add(1);
        report.last_error = Some(error);
        report.failures
    }
}
