//! Times as seconds in serialized figures.

use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

/// Serializes a duration.
pub(crate) fn of<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_secs_f64().serialize(serializer)
}

/// Serializes a duration, or nothing.
#[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
pub(crate) fn of_any<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

/// Serializes the time since an instant.
pub(crate) fn since<S: Serializer>(instant: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    of(&instant.elapsed(), serializer)
}

/// Serializes the time since an instant, or nothing.
pub(crate) fn since_any<S: Serializer>(
    instant: &Option<Instant>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    instant.map(|instant| instant.elapsed().as_secs_f64()).serialize(serializer)
}
