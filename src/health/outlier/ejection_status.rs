use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    escape::Escaped,
    health::{Figures, StageStatus},
};

/// A handle that reports the figures of an [`OutlierDetected`](crate::health::OutlierDetected).
pub type EjectionFigures = Figures<EjectionCounts, EndpointEjection>;

/// The figures of an [`OutlierDetected`](crate::health::OutlierDetected) at one moment.
pub type EjectionStatus = StageStatus<EjectionCounts, EndpointEjection>;

/// Outliers by the reason for which they were, or would have been, ejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EjectionCounts {
    /// Ejections.
    pub enforced: EjectionReasons,
    /// Outliers that stayed in service, because
    /// [`max_ejected`](crate::health::OutlierDetection::max_ejected) was reached. The same endpoint
    /// counts each time that it is detected.
    pub unenforced: EjectionReasons,
    /// Ejections that ended early, because a worse endpoint was ejected instead.
    pub replaced: u64,
}

/// Numbers by the reason of an ejection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EjectionReasons {
    /// Consecutive failed responses.
    pub failed_responses: u64,
    /// Consecutive requests without a response.
    pub unanswered_requests: u64,
    /// A success rate below that of others.
    pub success_rate: u64,
    /// A share of failures.
    pub failure_share: u64,
    /// A latency above that of others.
    pub latency: u64,
    /// Requests wait unanswered.
    pub stall: u64,
    /// The request of a trial failed.
    pub failed_trial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EjectionReason {
    FailedResponses,
    UnansweredRequests,
    SuccessRate,
    FailureShare,
    Latency,
    Stall,
    FailedTrial,
}

/// Whether an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EjectionState {
    /// The endpoint is not ejected.
    InService,
    /// The endpoint gets no requests.
    Ejected,
    /// The endpoint gets one request, which decides.
    OnTrial,
}

/// What an [`OutlierDetected`](crate::health::OutlierDetected) knows about an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointEjection {
    /// The key of the endpoint, as text.
    pub endpoint: Arc<str>,
    /// Whether it is ejected.
    pub state: EjectionState,
    /// Why it was last ejected; `None` while it is in service.
    pub reason: Option<Arc<str>>,
    /// When it entered this state.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "since_seconds")
    )]
    pub since: Instant,
    /// How often it has been ejected.
    pub ejections: u64,
}

impl EjectionReasons {
    /// Returns each reason with its number. The reasons are named like the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("failed_responses", self.failed_responses),
            ("unanswered_requests", self.unanswered_requests),
            ("success_rate", self.success_rate),
            ("failure_share", self.failure_share),
            ("latency", self.latency),
            ("stall", self.stall),
            ("failed_trial", self.failed_trial),
        ]
        .into_iter()
    }

    /// Returns the sum of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn add(&mut self, reason: EjectionReason) {
        *match reason {
            EjectionReason::FailedResponses => &mut self.failed_responses,
            EjectionReason::UnansweredRequests => &mut self.unanswered_requests,
            EjectionReason::SuccessRate => &mut self.success_rate,
            EjectionReason::FailureShare => &mut self.failure_share,
            EjectionReason::Latency => &mut self.latency,
            EjectionReason::Stall => &mut self.stall,
            EjectionReason::FailedTrial => &mut self.failed_trial,
        } += 1;
    }
}

impl EjectionState {
    /// Returns the name in events: `in_service`, `ejected` or `on_trial`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InService => "in_service",
            Self::Ejected => "ejected",
            Self::OnTrial => "on_trial",
        }
    }
}

impl fmt::Display for EjectionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (enforced, unenforced) = (self.enforced.total(), self.unenforced.total());
        write!(f, "{enforced} ejections, {unenforced} prevented by the limit")
    }
}

impl fmt::Display for EndpointEjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_str();
        write!(f, "{}: {state} for {:.1?}", Escaped(&self.endpoint), self.since.elapsed())?;
        if let Some(reason) = &self.reason {
            write!(f, " ({})", Escaped(reason))?;
        }
        write!(f, ", {} ejections", self.ejections)
    }
}
