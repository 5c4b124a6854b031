use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    escape::Escaped,
    health::{Figures, StageStatus},
};

/// A handle that reports the figures of a [`HealthChecked`](crate::health::HealthChecked).
pub type CheckFigures = Figures<CheckCounts, EndpointCheck>;

/// The figures of a [`HealthChecked`](crate::health::HealthChecked) at one moment.
pub type CheckStatus = StageStatus<CheckCounts, EndpointCheck>;

/// Health checks by their results. A check that was cancelled, because its endpoint was removed,
/// does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CheckCounts {
    /// Checks that passed.
    pub passed: CheckCount,
    /// Checks that failed with an error.
    pub failed: CheckCount,
    /// Checks that took longer than the timeout.
    pub timed_out: CheckCount,
}

/// A number of checks, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CheckCount {
    /// The number of checks.
    pub count: u64,
    /// The sum of their durations.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::of", rename = "total_seconds")
    )]
    pub total_time: Duration,
}

/// What a [`HealthChecked`](crate::health::HealthChecked) knows about an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointCheck {
    /// The key of the endpoint, as text.
    pub endpoint: Arc<str>,
    /// Whether the endpoint is healthy by its checks.
    pub healthy: bool,
    /// Why the endpoint is unhealthy; `None` if it is healthy.
    pub reason: Option<Arc<str>>,
    /// When the endpoint became healthy or unhealthy.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "since_seconds")
    )]
    pub since: Instant,
    /// The checks of the endpoint.
    pub counts: CheckCounts,
    /// The last check; `None` before the first one has ended.
    pub last: Option<LastCheck>,
}

/// The last check of an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastCheck {
    /// When it ended.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "age_seconds")
    )]
    pub at: Instant,
    /// How long it took.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::of", rename = "took_seconds")
    )]
    pub took: Duration,
    /// Why it failed; `None` if the check passed.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub failure: Option<CheckFailure>,
    /// The error with its sources; `None` if the check passed.
    pub error: Option<Arc<str>>,
}

/// Why a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckFailure {
    /// It took longer than the timeout.
    TimedOut,
    /// The endpoint responded, but not as expected.
    UnexpectedResponse,
    /// Any other failure, such as a refused connection.
    Failed,
}

impl CheckCounts {
    pub(super) fn add(&mut self, result: CheckResult, took: Duration) {
        let count = match result {
            CheckResult::Passed => &mut self.passed,
            CheckResult::Failed => &mut self.failed,
            CheckResult::TimedOut => &mut self.timed_out,
        };
        count.count += 1;
        count.total_time = count.total_time.saturating_add(took);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CheckResult {
    Passed,
    Failed,
    TimedOut,
}

impl fmt::Display for CheckCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, timed_out } = self;
        write!(f, "{} passed, {} failed, {} timed out", passed.count, failed.count, timed_out.count)
    }
}

impl fmt::Display for EndpointCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.healthy { "healthy" } else { "unhealthy" };
        write!(f, "{}: {state} for {:.1?}", Escaped(&self.endpoint), self.since.elapsed())?;
        if let Some(reason) = &self.reason {
            write!(f, " ({})", Escaped(reason))?;
        }
        write!(f, ", {}", self.counts)
    }
}
