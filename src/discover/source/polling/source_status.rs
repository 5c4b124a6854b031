use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::SourceError;

/// Tells how a source is doing, from anywhere: when it last succeeded above all. Clones are of the
/// same source.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    report: Mutex<SourceReport>,
    /// Somebody wants the source to be asked again.
    wanted: AtomicBool,
    waker: AtomicWaker,
}

/// How a source was doing at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// The source's name.
    pub name: Arc<str>,
    /// When it last gave an answer; `None` if it never did.
    pub last_success: Option<Instant>,
    /// How many endpoints there were in the last answer.
    pub endpoints: usize,
    /// How many answers there were.
    pub successes: u64,
    /// How many errors in a row there were since.
    pub failures: u32,
    /// The last of them; `None` if the last attempt succeeded.
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

    /// All there is to know.
    #[must_use]
    pub fn report(&self) -> SourceReport {
        self.lock().clone()
    }

    /// How old the last answer is; `None` if there was none.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        Some(self.lock().last_success?.elapsed())
    }

    /// Asks the source before its time, when connections to endpoints fail, for example: as soon as
    /// the floor of its schedule allows since the last answer. A pause after an error is not cut
    /// short.
    pub fn ask_again(&self) {
        self.shared.wanted.store(true, Ordering::Release);
        self.shared.waker.wake();
    }

    /// Whether the source shall be asked before its time; if not, the waker is woken when it shall.
    pub(super) fn is_wanted(&self, waker: &Waker) -> bool {
        self.shared.waker.register(waker);
        self.shared.wanted.load(Ordering::Acquire)
    }

    /// The source is being asked.
    pub(super) fn asking(&self) {
        self.shared.wanted.store(false, Ordering::Release);
    }

    pub(super) fn succeeded(&self, endpoints: Option<usize>) {
        let mut report = self.lock();
        report.last_success = Some(Instant::now());
        report.endpoints = endpoints.unwrap_or(report.endpoints);
        report.successes += 1;
        (report.failures, report.last_error) = (0, None);
    }

    /// Counts an error; how many there are in a row now.
    pub(super) fn failed(&self, error: SourceError) -> u32 {
        let mut report = self.lock();
        report.failures = report.failures.saturating_add(1);
        report.last_error = Some(error);
        report.failures
    }

    fn lock(&self) -> MutexGuard<'_, SourceReport> {
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
