use std::{fmt, sync::Arc};

use tokio::time::Instant;

use crate::{
    escape::Escaped,
    health::{Figures, StageStatus},
};

/// A handle that reports the figures of a [`CircuitBroken`](crate::health::CircuitBroken).
pub type CircuitFigures = Figures<CircuitCounts, EndpointCircuit>;

/// The figures of a [`CircuitBroken`](crate::health::CircuitBroken) at one moment.
pub type CircuitStatus = StageStatus<CircuitCounts, EndpointCircuit>;

/// How often circuits have changed their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CircuitCounts {
    /// Circuits that opened after consecutive failures.
    pub opened_by_consecutive_failures: u64,
    /// Circuits that opened because of a share of failures.
    pub opened_by_failure_share: u64,
    /// Circuits that opened again because a trial failed.
    pub opened_by_failed_trial: u64,
    /// Circuits that became half-open.
    pub half_opened: u64,
    /// Circuits that closed after a trial.
    pub closed: u64,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CircuitState {
    /// Requests pass.
    Closed,
    /// No request passes.
    Open,
    /// As many requests pass as decide whether the circuit closes.
    HalfOpen,
}

/// What a [`CircuitBroken`](crate::health::CircuitBroken) knows about an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointCircuit {
    /// The key of the endpoint, as text.
    pub endpoint: Arc<str>,
    /// The state of its circuit.
    pub state: CircuitState,
    /// Why the circuit last opened; `None` while it is closed.
    pub reason: Option<Arc<str>>,
    /// When the circuit entered this state.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "since_seconds")
    )]
    pub since: Instant,
    /// How often the circuit has opened.
    pub opened: u64,
}

impl CircuitState {
    /// Returns the name in events: `closed`, `open` or `half_open`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for CircuitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = self.opened_by_consecutive_failures
            + self.opened_by_failure_share
            + self.opened_by_failed_trial;
        write!(f, "opened {opened} times, closed {} times", self.closed)
    }
}

impl fmt::Display for EndpointCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_str();
        write!(f, "{}: {state} for {:.1?}", Escaped(&self.endpoint), self.since.elapsed())?;
        if let Some(reason) = &self.reason {
            write!(f, " ({})", Escaped(reason))?;
        }
        write!(f, ", opened {} times", self.opened)
    }
}
