use std::{any::Any, fmt::Debug, time::Duration};

use tokio::time::Instant;

use super::Outcome;
use crate::endpoint::Vitals;

/// Learns from finished attempts; a strategy hangs one on each endpoint.
///
/// A meter may keep the state of its endpoint itself, and the strategy reads it back from
/// [`Candidate::meter`](crate::strategy::Candidate::meter); the built-in loads keep theirs in the
/// [`Vitals`] and share one meter between all endpoints.
pub trait Meter: Any + Debug + Send + Sync {
    /// Takes note of a finished attempt. Called once for each, on the path of the request: it must
    /// not block.
    fn record(&self, vitals: &Vitals, sample: &Sample);

    /// True if [`Sample::latency`] is needed, which costs two clock reads a request.
    fn needs_latency(&self) -> bool {
        true
    }
}

/// What a [`Meter`] learns of one finished attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sample {
    /// How it ended.
    pub outcome: Outcome,
    /// From the pick to the first byte of the response; to the end if there was none. `None` if the
    /// strategy measures no latency.
    pub latency: Option<Duration>,
    /// The response had begun, so the latency is the endpoint's and not how long the caller waited.
    pub responded: bool,
    now: Option<Instant>,
}

impl Sample {
    /// An attempt that ended in `outcome`, its latency not measured.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        let responded = outcome == Outcome::Success;
        Self { outcome, latency: None, responded, now: None }
    }

    /// The latency, as measured at `now`.
    #[must_use]
    pub fn measured(mut self, latency: Duration, now: Instant) -> Self {
        (self.latency, self.now) = (Some(latency), Some(now));
        self
    }

    /// When the attempt ended, or got its first byte. Reads the clock if nobody has yet.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now.unwrap_or_else(Instant::now)
    }
}
