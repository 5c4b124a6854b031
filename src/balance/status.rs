use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    endpoint::{Attributes, OutcomeCounts},
    escape::Escaped,
    load::PeakEwma,
    strategy::Candidate,
};

/// The state of a balancer at one moment: its endpoints with their figures, and its driver.
///
/// `Display` writes a table for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// All endpoints, eligible or not, in no particular order.
    pub endpoints: Vec<EndpointStatus>,
    /// The strategy's messages to the operator, such as that a panic rule holds.
    pub notices: Arc<[String]>,
    /// The driver's state.
    pub driver: DriverStatus,
    /// The number of snapshots published.
    pub version: u64,
}

/// One endpoint of a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The endpoint's key, as text.
    pub name: Arc<str>,
    /// The weight, tier, health and other attributes.
    pub attributes: Attributes,
    /// The number of requests in flight.
    pub outstanding: u32,
    /// How many requests ended in which way.
    pub outcomes: OutcomeCounts,
    /// The estimate of [`PeakEwma`] as last measured; `None` if nothing measures it.
    pub latency: Option<Duration>,
}

/// The state of a balancer's driver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DriverStatus {
    /// Whether the driver still applies changes.
    pub state: DriverState,
    /// The number of errors that the stream of endpoints has yielded.
    pub errors: u64,
    /// The last error; `None` again once an update has arrived.
    pub last_error: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Whether a driver still applies changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverState {
    /// The driver applies changes as they come, as long as it is polled.
    #[default]
    Running,
    /// The list of endpoints is complete: its stream has ended, as that of a static list does. The
    /// endpoints stay, and the driver has no more work.
    Complete,
    /// The driver was dropped before the stream ended. The last endpoints stay.
    Dropped,
}

impl fmt::Display for DriverState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Complete => "complete, the list of endpoints is final",
            Self::Dropped => "dropped, changes of the endpoints are not seen",
        })
    }
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
            DriverStatus { state, last_error: None, .. } => writeln!(f, "driver: {state}"),
            DriverStatus { state, last_error: Some(error), errors } => {
                writeln!(f, "driver: {state}; {errors} errors, the last: {}", Escaped(error))
            }
        }
    }
}
