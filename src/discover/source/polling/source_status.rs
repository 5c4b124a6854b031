use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::SourceError;
use crate::{
    escape::Escaped,
    sync::{Mutex, lock},
};

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

/// A [`SourceStatus`] that does not keep the state of a source that is gone.
#[derive(Clone, Debug)]
pub struct WeakSourceStatus {
    shared: Weak<Shared>,
}

impl WeakSourceStatus {
    /// Returns the handle, or `None` if the source and all its handles are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<SourceStatus> {
        Some(SourceStatus { shared: self.shared.upgrade()? })
    }
}

/// The state of a source at one moment.
///
/// With feature `serde` it can be serialized: `last_success` as `age_seconds`, and the error as
/// text.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SourceReport {
    /// The source's name.
    pub name: Arc<str>,
    /// When the last poll succeeded; `None` if none has.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since_any", rename = "age_seconds")
    )]
    pub last_success: Option<Instant>,
    /// The number of endpoints in the last answer.
    pub endpoints: usize,
    /// The number of successful polls.
    pub successes: u64,
    /// The number of answers that have changed the endpoints.
    pub updates: u64,
    /// The number of errors.
    pub errors: u64,
    /// The number of consecutive errors since the last success.
    pub failures: u32,
    /// The last of these errors; `None` if the last poll succeeded.
    #[cfg_attr(feature = "serde", serde(serialize_with = "error_text"))]
    pub last_error: Option<SourceError>,
}

impl SourceStatus {
    pub(super) fn new(name: Arc<str>) -> Self {
        let report = SourceReport {
            name,
            last_success: None,
            endpoints: 0,
            successes: 0,
            updates: 0,
            errors: 0,
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

    /// Returns a handle that does not keep the state of a source that is gone.
    #[must_use]
    pub fn downgrade(&self) -> WeakSourceStatus {
        WeakSourceStatus { shared: Arc::downgrade(&self.shared) }
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

    /// Records a success; `endpoints` is `None` if they are unchanged. Returns the number of errors
    /// since the last success.
    pub(super) fn succeeded(&self, endpoints: Option<usize>) -> u32 {
        let mut report = lock(&self.shared.report);
        let failures = report.failures;
        report.last_success = Some(Instant::now());
        report.endpoints = endpoints.unwrap_or(report.endpoints);
        report.successes += 1;
        (report.failures, report.last_error) = (0, None);
        failures
    }

    /// Records that the last answer has changed the endpoints.
    pub(super) fn updated(&self) {
        lock(&self.shared.report).updates += 1;
    }

    /// Records an error and returns the number of consecutive errors.
    pub(super) fn failed(&self, error: SourceError) -> u32 {
        let mut report = lock(&self.shared.report);
        report.failures = report.failures.saturating_add(1);
        report.errors += 1;
        report.last_error = Some(error);
        report.failures
    }
}

#[cfg(feature = "serde")]
fn error_text<S: serde::Serializer>(
    error: &Option<SourceError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(error),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for SourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, endpoints, updates, errors, .. } = self;
        write!(f, "{}: {endpoints} endpoints", Escaped(name))?;
        match self.last_success {
            Some(at) => write!(f, ", read {:.1?} ago", at.elapsed())?,
            None => f.write_str(", not read yet")?,
        }
        write!(f, ", {updates} updates, {errors} errors")?;
        self.last_error.as_ref().map_or(Ok(()), |error| write!(f, ", last: {error}"))
    }
}
