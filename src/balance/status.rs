use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    endpoint::{Attributes, Distribution, EndpointStats, OutcomeCounts},
    escape::Escaped,
    load::PeakEwma,
    strategy::Candidate,
};

/// The state of a balancer at one moment: its endpoints with their figures, and its driver.
///
/// `Display` writes a table for people. With feature `serde` it can be serialized, with durations
/// in seconds.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The balancer's [name](super::Builder::name), if it has one.
    pub name: Option<Arc<str>>,
    /// All endpoints, eligible or not, sorted by tier, region, zone and name.
    pub endpoints: Vec<EndpointStatus>,
    /// The strategy's messages to the operator, such as that a panic rule holds.
    pub notices: Arc<[String]>,
    /// The driver's state.
    pub driver: DriverStatus,
    /// The number of snapshots published.
    pub version: u64,
    /// The number of requests that are queued for an endpoint with room.
    pub waiting: usize,
    /// The number of requests so far that failed because no endpoint had room and
    /// [`max_waiting`](super::Builder::max_waiting) requests were waiting.
    pub rejected: u64,
    /// How long the waits for an endpoint took, of requests and of `poll_ready`, without those that
    /// were dropped.
    pub waits: Distribution,
}

/// One endpoint of a [`Status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The endpoint's key, as text.
    pub name: Arc<str>,
    /// The weight, tier, health and other attributes.
    pub attributes: Attributes,
    /// How long the health has been what it is.
    pub since: Duration,
    /// Whether the strategy may select the endpoint.
    pub is_eligible: bool,
    /// The number of requests in flight.
    pub outstanding: u32,
    /// How many requests ended in which way.
    pub outcomes: OutcomeCounts,
    /// The estimate of [`PeakEwma`] as last measured; `None` if nothing measures it.
    pub latency: Option<Duration>,
    /// The time from the pick to the beginning of the response, of attempts whose response had a
    /// beginning or was a success. Counted when the attempt ends, unless it was cancelled. `None`
    /// unless [`measure_durations`](super::Builder::measure_durations) is set.
    pub first_byte: Option<Distribution>,
    /// The time from the pick to the end of the attempt, without attempts that were cancelled.
    /// `None` unless [`measure_durations`](super::Builder::measure_durations) is set.
    pub end: Option<Distribution>,
    /// Tells endpoints of one name apart, and one that comes back from another one.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(crate) stats: Weak<EndpointStats>,
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
    pub(super) fn of(candidate: &Candidate, is_eligible: bool) -> Self {
        let (stats, state) = (candidate.stats(), &candidate.endpoint_state);
        let durations = state.durations();
        Self {
            name: Arc::clone(&state.name),
            attributes: (**candidate).clone(),
            since: state.in_state_for(),
            is_eligible,
            outstanding: stats.outstanding(),
            outcomes: stats.outcomes(),
            latency: PeakEwma::last_estimate(stats),
            first_byte: durations.map(|durations| durations.first_byte()),
            end: durations.map(|durations| durations.end()),
            stats: Arc::downgrade(stats),
        }
    }

    /// Returns the key by which the endpoints of a status are sorted.
    pub(super) fn sort_key(&self) -> impl Ord + use<'_> {
        let zone = self.attributes.locality().map(|locality| (locality.region(), locality.zone()));
        (self.attributes.tier(), zone, &*self.name)
    }

    /// Returns how often the endpoint was selected: the attempts that have ended and those in
    /// flight.
    #[must_use]
    pub fn picks(&self) -> u64 {
        self.outcomes.total() + u64::from(self.outstanding)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            writeln!(f, "balancer {}", Escaped(name))?;
        }
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
                endpoint.attributes.configured_weight(),
                endpoint.outstanding,
                endpoint.outcomes.success,
                endpoint.outcomes.failures(),
                endpoint.attributes.health(),
            )?;
        }
        if self.waiting > 0 {
            writeln!(f, "waiting: {} requests", self.waiting)?;
        }
        if self.rejected > 0 {
            writeln!(f, "rejected: {} requests", self.rejected)?;
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

#[cfg(feature = "serde")]
impl serde::Serialize for EndpointStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let attributes = &self.attributes;
        let (health, locality) = (attributes.health(), attributes.locality());
        let mut fields = serializer.serialize_struct("EndpointStatus", 16)?;
        fields.serialize_field("name", &*self.name)?;
        fields.serialize_field("region", &locality.map(|locality| locality.region()))?;
        fields.serialize_field("zone", &locality.map(|locality| locality.zone()))?;
        fields.serialize_field("tier", &attributes.tier())?;
        fields.serialize_field("weight", &attributes.configured_weight())?;
        fields.serialize_field("present_weight", &attributes.weight())?;
        fields.serialize_field("health", health.state())?;
        fields.serialize_field("reason", &health.reason())?;
        fields.serialize_field("since_seconds", &self.since.as_secs_f64())?;
        fields.serialize_field("is_eligible", &self.is_eligible)?;
        fields.serialize_field("outstanding", &self.outstanding)?;
        fields.serialize_field("picks", &self.picks())?;
        fields.serialize_field("outcomes", &self.outcomes)?;
        fields.serialize_field("latency_seconds", &self.latency.map(|time| time.as_secs_f64()))?;
        fields.serialize_field("first_byte", &self.first_byte)?;
        fields.serialize_field("end", &self.end)?;
        fields.end()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DriverStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let state = match self.state {
            DriverState::Running => "running",
            DriverState::Complete => "complete",
            DriverState::Dropped => "dropped",
        };
        let last_error =
            self.last_error.as_deref().map(|error| crate::escape::EscapedChain(error).to_string());
        let mut fields = serializer.serialize_struct("DriverStatus", 3)?;
        fields.serialize_field("state", state)?;
        fields.serialize_field("errors", &self.errors)?;
        fields.serialize_field("last_error", &last_error)?;
        fields.end()
    }
}
