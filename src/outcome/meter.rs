use std::{any::Any, fmt::Debug, time::Duration};

use tokio::time::Instant;

use super::{LoadReport, Outcome};
use crate::endpoint::EndpointStats;

/// Learns from attempts; a strategy hangs one on each endpoint, and so may a stage of discovery
/// ([`Endpoint::with_meter`](crate::Endpoint::with_meter)).
///
/// A meter may keep the state of its endpoint itself, and the strategy reads it back from
/// [`Candidate::meter`](crate::strategy::Candidate::meter); the built-in loads keep theirs in the
/// [`EndpointStats`] and share one meter between all endpoints.
#[diagnostic::on_unimplemented(
    note = "implement `Meter::record` for `{Self}`, which must also be `Debug + Send + Sync + 'static`"
)]
pub trait Meter: Any + Debug + Send + Sync {
    /// Takes note of a finished attempt. Called once for each, on the path of the request: it must
    /// not block.
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>);

    /// True if [`Sample::latency`] is needed, which costs two clock reads a request. Asked each time that
    /// the endpoint changes. Default true, or what the wrapped meter says.
    fn needs_latency(&self) -> bool {
        self.inner().is_none_or(|inner| inner.needs_latency())
    }

    /// An attempt has begun; called only if [`needs_starts`](Self::needs_starts). Default: passed on
    /// to the wrapped meter.
    fn start(&self, stats: &EndpointStats, start: Start) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    /// The response to an attempt has begun; called only if
    /// [`needs_first_bytes`](Self::needs_first_bytes), and only where responses have a beginning before
    /// their end, as in HTTP. Default: passed on to the wrapped meter.
    fn first_byte(&self, stats: &EndpointStats, start: Start) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_first_bytes()) {
            inner.first_byte(stats, start);
        }
    }

    /// True if [`first_byte`](Self::first_byte) is to be called. Latency is measured then. Default
    /// false, or what the wrapped meter says.
    fn needs_first_bytes(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_first_bytes())
    }

    /// True if [`start`](Self::start) is to be called. Default false, or what the wrapped meter says.
    fn needs_starts(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_starts())
    }

    /// The endpoint has told how loaded it is; called only if
    /// [`needs_reports`](Self::needs_reports). Default: passed on to the wrapped meter.
    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_reports()) {
            inner.report(stats, report, now);
        }
    }

    /// True if [`report`](Self::report) is to be called, so that reports are looked for. Default
    /// false, or what the wrapped meter says.
    fn needs_reports(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_reports())
    }

    /// The meter that this one wraps, if it does, so that it can be found by its type. A wrapper
    /// passes [`record`](Self::record) on itself. Default: none.
    fn inner(&self) -> Option<&dyn Meter> {
        None
    }

    /// True if it keeps no state of its own, so that one can serve all endpoints of a balancer.
    /// Default false.
    fn is_stateless(&self) -> bool {
        false
    }
}

impl dyn Meter {
    /// This meter, or the one that it wraps, if that is an `M`.
    pub(crate) fn find<M: Meter>(&self) -> Option<&M> {
        // Scans do this for each endpoint: `successors` would ask the meter that is found for its
        // inner one too.
        let mut meter = self;
        loop {
            if let Some(found) = (meter as &dyn Any).downcast_ref() {
                return Some(found);
            }
            meter = meter.inner()?;
        }
    }
}

/// What a [`Meter`] learns of an attempt that begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub(super) class: u32,
    /// Age of the vitals, in nanoseconds; 0 if not measured.
    pub(super) started: u64,
}

impl Start {
    /// The class of the request; 0 unless the strategy tells classes apart.
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }

    /// How old the vitals were when the attempt began; `None` if nobody measures latency.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        (self.started > 0).then(|| Duration::from_nanos(self.started))
    }

    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.started
    }

    /// The same by the age of other vitals.
    pub(crate) fn rebased(self, from: &EndpointStats, to: &EndpointStats) -> Self {
        Self { started: to.age_of(self.started, from), ..self }
    }

    #[cfg(test)]
    pub(crate) fn at_age(nanos: u64) -> Self {
        Self { class: 0, started: nanos }
    }
}

/// What a [`Meter`] learns of one finished attempt.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    outcome: &'a Outcome,
    responded: bool,
    begun: bool,
    class: u32,
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
        Self { outcome, responded, begun: false, class: 0, started: 0, ended: 0 }
    }

    #[inline]
    pub(crate) fn measured(self, started: u64, ended: u64) -> Self {
        Self { started, ended, ..self }
    }

    #[inline]
    pub(super) fn begun(mut self, begun: bool) -> Self {
        self.responded |= begun;
        self.begun = begun;
        self
    }

    /// The same by the age of other vitals.
    pub(crate) fn rebased(self, from: &EndpointStats, to: &EndpointStats) -> Self {
        let rebased = |age| to.age_of(age, from);
        Self { started: rebased(self.started), ended: rebased(self.ended), ..self }
    }

    #[inline]
    pub(super) fn of_class(self, class: u32) -> Self {
        Self { class, ..self }
    }

    /// What was told of it when it began.
    #[inline]
    #[must_use]
    pub fn start(&self) -> Start {
        Start { class: self.class, started: self.started }
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
        self.latency_nanos().map(Duration::from_nanos)
    }

    #[inline]
    pub(crate) fn latency_nanos(&self) -> Option<u64> {
        (self.ended > 0).then(|| self.ended.saturating_sub(self.started))
    }

    /// True if the response had begun, so that the latency is the endpoint's and not how long the
    /// caller cared to wait.
    #[must_use]
    pub fn has_response(&self) -> bool {
        self.responded
    }

    /// True if [`Meter::first_byte`] was called for it.
    #[must_use]
    pub fn had_first_byte(&self) -> bool {
        self.begun
    }

    /// The age of the vitals when the attempt ended, or got its first byte. Reads the clock if
    /// nobody has yet.
    pub(crate) fn age(&self, stats: &EndpointStats) -> u64 {
        if self.ended > 0 { self.ended } else { stats.age(Instant::now()) }
    }
}
