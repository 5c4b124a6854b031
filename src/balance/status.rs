use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    endpoint::{Attributes, OutcomeCounts},
    escape::Escaped,
    load::PeakEwma,
    strategy::Candidate,
};

/// A balancer at one moment: all its endpoints with their figures, and how its driver is doing.
///
/// `Display` gives a table for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// All endpoints, eligible or not, in no particular order.
    pub endpoints: Vec<EndpointStatus>,
    /// What the strategy wants people to know: that a panic rule holds, for example.
    pub notices: Arc<[String]>,
    /// The driver's state.
    pub driver: DriverStatus,
    /// Counts the snapshots published.
    pub version: u64,
}

/// One endpoint of a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The endpoint's key, as text.
    pub name: Arc<str>,
    /// Weight, tier, health and the like.
    pub attributes: Attributes,
    /// Requests in flight.
    pub outstanding: u32,
    /// How requests ended.
    pub outcomes: OutcomeCounts,
    /// The estimate of [`PeakEwma`] as last measured; `None` if nothing measures it.
    pub latency: Option<Duration>,
}

/// How the driver of a balancer is doing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DriverStatus {
    /// Whether it still applies changes.
    pub state: DriverState,
    /// How many errors the stream of endpoints has yielded.
    pub errors: u64,
    /// The last of them, until an update arrives.
    pub last_error: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Whether a driver still applies changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverState {
    /// It applies changes as they come, if somebody polls it.
    #[default]
    Running,
    /// The stream of endpoints has ended; the last endpoints are kept.
    Ended,
    /// It was dropped while the stream had more to come; the last endpoints are kept.
    Dropped,
}

impl EndpointStatus {
    pub(super) fn of(candidate: &Candidate) -> Self {
        let stats = candidate.stats();
        Self {
            name: Arc::clone(&candidate.endpoint_state.name),
            attributes: (**candidate).clone(),
            outstanding: stats.outstanding(),
            outcomes: stats.outcomes(),
            latency: PeakEwma::last_estimate(stats),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.endpoints.iter().map(|endpoint| Escaped(&endpoint.name).to_string());
        let names: Vec<_> = names.collect();
        let name_width = names.iter().map(|name| name.chars().count()).max();
        let width = name_width.unwrap_or_default().max("endpoint".len());
        writeln!(
            f,
            "{:width$}  {:>6}  {:>6}  {:>9}  {:>8}  {:>9}  health",
            "endpoint", "weight", "active", "ok", "failed", "latency"
        )?;
        for (name, endpoint) in names.iter().zip(&self.endpoints) {
            let latency = endpoint.latency.map_or_else(|| "-".into(), |time| format!("{time:.1?}"));
            writeln!(
                f,
                "{name:width$}  {:>6}  {:>6}  {:>9}  {:>8}  {latency:>9}  {}",
                endpoint.attributes.weight(),
                endpoint.outstanding,
                endpoint.outcomes.success,
                endpoint.outcomes.failures(),
                endpoint.attributes.health(),
            )?;
        }
        for notice in &*self.notices {
            writeln!(f, "strategy: {}", Escaped(notice))?;
        }
        match &self.driver {
            DriverStatus { state: DriverState::Running, last_error: None, .. } => Ok(()),
            DriverStatus { state, last_error: None, .. } => writeln!(f, "driver: {state:?}"),
            DriverStatus { state, last_error: Some(error), errors } => {
                writeln!(f, "driver: {state:?}, {errors} errors, the last: {}", Escaped(error))
            }
        }
    }
}
