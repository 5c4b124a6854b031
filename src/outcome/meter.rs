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
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>);

    /// True if [`Sample::latency`] is needed, which costs two clock reads a request.
    fn needs_latency(&self) -> bool {
        true
    }
}

/// What a [`Meter`] learns of one finished attempt.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    outcome: &'a Outcome,
    responded: bool,
    /// Ages of the vitals, in nanoseconds; `ended` is 0 if no latency is measured.
    started: u64,
    ended: u64,
}

impl<'a> Sample<'a> {
    /// An attempt that ended in `outcome`, its latency not measured.
    #[inline]
    #[must_use]
    pub fn new(outcome: &'a Outcome) -> Self {
        let responded = matches!(outcome, Outcome::Success);
        Self { outcome, responded, started: 0, ended: 0 }
    }

    #[inline]
    pub(crate) fn measured(self, started: u64, ended: u64) -> Self {
        Self { started, ended, ..self }
    }

    #[inline]
    pub(super) fn responded(mut self, responded: bool) -> Self {
        self.responded |= responded;
        self
    }

    /// How it ended.
    #[inline]
    #[must_use]
    pub fn outcome(&self) -> &'a Outcome {
        self.outcome
    }

    /// From the pick to the first byte of the response; to the end if there was none. `None` if the
    /// strategy measures no latency.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        (self.ended > 0).then(|| Duration::from_nanos(self.ended.saturating_sub(self.started)))
    }

    /// True if the response had begun, so that the latency is the endpoint's and not how long the
    /// caller cared to wait.
    #[must_use]
    pub fn has_response(&self) -> bool {
        self.responded
    }

    /// The age of the vitals when the attempt ended, or got its first byte. Reads the clock if
    /// nobody has yet.
    pub(crate) fn age(&self, vitals: &Vitals) -> u64 {
        if self.ended > 0 { self.ended } else { vitals.age(Instant::now()) }
    }
}
