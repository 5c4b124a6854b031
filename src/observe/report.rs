use std::time::SystemTime;

use crate::balance::{Event, Status};

/// The state of the components of a [`Registry`](super::Registry) at one moment.
///
/// With feature `serde` it can be serialized: times are seconds, `time` since 1970.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// When the report was made.
    #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
    pub time: SystemTime,
    /// The balancers, in the order in which they were added.
    pub balancers: Vec<BalancerReport>,
}

/// What a [`Report`] says of one balancer.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BalancerReport {
    /// Its endpoints with their figures, and its driver.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub status: Status,
    /// The latest changes that it has seen, the oldest first.
    pub events: Vec<Event>,
    /// Tells balancers of one name apart.
    #[cfg_attr(feature = "serde", serde(skip))]
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(super) id: u64,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { time: SystemTime::now(), balancers: Vec::new() }
    }
}

#[cfg(feature = "serde")]
fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_f64(since.as_secs_f64())
}
