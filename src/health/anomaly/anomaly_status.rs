use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    escape::Escaped,
    health::{Figures, StageStatus},
};

/// A handle that reports the figures of an [`AnomalyDetected`](crate::health::AnomalyDetected).
pub type AnomalyFigures = Figures<AnomalyCounts, EndpointAnomaly>;

/// The figures of an [`AnomalyDetected`](crate::health::AnomalyDetected) at one moment.
pub type AnomalyStatus = StageStatus<AnomalyCounts, EndpointAnomaly>;

/// How often anomalies began and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AnomalyCounts {
    /// How often an endpoint became anomalous.
    pub began: u64,
    /// How often an anomalous endpoint became normal.
    pub ended: u64,
    /// How often an endpoint stayed normal because as many as may be were anomalous.
    pub limited: u64,
}

/// What an endpoint is in comparison with its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AnomalyResult {
    /// It does not fail more often, or there are too few requests or peers to tell.
    #[default]
    Normal,
    /// It fails more often.
    Anomalous,
}

impl AnomalyResult {
    /// Returns `normal` or `anomalous`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Anomalous => "anomalous",
        }
    }
}

/// What an [`AnomalyDetected`](crate::health::AnomalyDetected) knows about an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointAnomaly {
    /// The key of the endpoint, as text.
    pub endpoint: Arc<str>,
    /// How it compares with its peers.
    pub result: AnomalyResult,
    /// The share of its weight that the endpoint has, from 0 to 1.
    pub weight_share: f64,
    /// When `result` last changed, or the endpoint was added.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "since_seconds")
    )]
    pub since: Instant,
}

impl EndpointAnomaly {
    /// Returns whether the endpoint gets less than its share.
    #[must_use]
    pub fn is_mitigated(&self) -> bool {
        self.weight_share < 1.0
    }
}

impl fmt::Display for AnomalyCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { began, ended, limited } = self;
        write!(f, "{began} anomalies, {ended} ended, {limited} beyond the limit")
    }
}

impl fmt::Display for EndpointAnomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (result, share) = (self.result.as_str(), self.weight_share * 100.0);
        let (endpoint, since) = (Escaped(&self.endpoint), self.since.elapsed());
        write!(f, "{endpoint}: {result} for {since:.1?}, {share:.0} % of its weight")
    }
}
