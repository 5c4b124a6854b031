use std::{any::Any, fmt::Debug, time::Duration};

use tokio::time::Instant;

use super::{LoadReport, Outcome};
use crate::endpoint::EndpointStats;

/// Learns from attempts. A strategy adds one to each endpoint, and so may a stage of discovery
/// ([`Endpoint::with_meter`](crate::Endpoint::with_meter)).
///
/// A meter may store the state of its endpoint itself; the strategy reads it from
/// [`Candidate::meter`](crate::strategy::Candidate::meter). The built-in loads store theirs in the
/// [`EndpointStats`] and share one meter between all endpoints.
#[diagnostic::on_unimplemented(
    note = "implement `Meter::record` for `{Self}`, which must also be `Debug + Send + Sync + 'static`"
)]
pub trait Meter: Any + Debug + Send + Sync {
    /// Records a finished attempt. It is called once for each attempt, on the path of the request,
    /// and must not block.
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>);

    /// Returns true if [`Sample::latency`] is needed, which costs two clock reads per request. It
    /// is called at each change of the endpoint. Default: true, or the wrapped meter's value.
    fn needs_latency(&self) -> bool {
        self.inner().is_none_or(|inner| inner.needs_latency())
    }

    /// Records that an attempt has begun. It is called only if [`needs_starts`](Self::needs_starts)
    /// returns true. Default: calls the wrapped meter.
    fn start(&self, stats: &EndpointStats, start: Start) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    /// Records that the response to an attempt has begun. It is called only if
    /// [`needs_first_bytes`](Self::needs_first_bytes) returns true, and only for protocols whose
    /// responses begin before they end, such as HTTP. Default: calls the wrapped meter.
    fn first_byte(&self, stats: &EndpointStats, start: Start) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_first_bytes()) {
            inner.first_byte(stats, start);
        }
    }

    /// Returns true if [`first_byte`](Self::first_byte) is to be called. Latency is then measured.
    /// Default: false, or the wrapped meter's value.
    fn needs_first_bytes(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_first_bytes())
    }

    /// Returns true if [`start`](Self::start) is to be called. Default: false, or the wrapped
    /// meter's value.
    fn needs_starts(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_starts())
    }

    /// Records the endpoint's report of its load. It is called only if
    /// [`needs_reports`](Self::needs_reports) returns true. Default: calls the wrapped meter.
    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if let Some(inner) = self.inner().filter(|inner| inner.needs_reports()) {
            inner.report(stats, report, now);
        }
    }

    /// Returns true if [`report`](Self::report) is to be called, so that reports are parsed.
    /// Default: false, or the wrapped meter's value.
    fn needs_reports(&self) -> bool {
        self.inner().is_some_and(|inner| inner.needs_reports())
    }

    /// Returns the meter that this one wraps, so that it can be found by its type. A wrapper's own
    /// [`record`](Self::record) has to call the inner one. Default: `None`.
    fn inner(&self) -> Option<&dyn Meter> {
        None
    }

    /// Returns true if the meter has no state of its own, so that one serves all endpoints of a
    /// balancer. Default: false.
    fn is_stateless(&self) -> bool {
        false
    }

    /// Returns true if [`record`](Self::record) does nothing for a success at an endpoint whose
    /// failure estimate is 0, so that it need not be called.
    #[doc(hidden)]
    fn ignores_successes(&self) -> bool {
        false
    }
}

impl dyn Meter {
    /// Returns this meter, or the one that it wraps, if its type is `M`.
    pub(crate) fn find<M: Meter>(&self) -> Option<&M> {
        // A loop because scans do this for each endpoint: `successors` would also call `inner` on
        // the meter that is found.
        let mut meter = self;
        loop {
            if let Some(found) = (meter as &dyn Any).downcast_ref() {
                return Some(found);
            }
            meter = meter.inner()?;
        }
    }
}

/// An attempt that begins, as a [`Meter`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub(super) class: u32,
    /// The age of the stats, in nanoseconds; 0 if not measured.
    pub(super) started: u64,
}

impl Start {
    /// Returns the class of the request; 0 unless the strategy assigns classes.
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }

    /// Returns the age of the endpoint's stats when the attempt began; `None` if no meter needs
    /// latency.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        (self.started > 0).then(|| Duration::from_nanos(self.started))
    }

    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.started
    }

    /// Converts ages of the stats `from` to ages of the stats `to`.
    pub(crate) fn rebased(self, from: &EndpointStats, to: &EndpointStats) -> Self {
        Self { started: to.age_of(self.started, from), ..self }
    }

    #[cfg(test)]
    pub(crate) fn at_age(nanos: u64) -> Self {
        Self { class: 0, started: nanos }
    }
}

/// A finished attempt, as a [`Meter`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    outcome: &'a Outcome,
    responded: bool,
    begun: bool,
    class: u32,
    /// Ages of the stats, in nanoseconds; `ended` is 0 if no latency is measured.
    started: u64,
    ended: u64,
}

impl<'a> Sample<'a> {
    /// Creates the sample of an attempt that ended in `outcome`, without a latency.
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

    /// Converts ages of the stats `from` to ages of the stats `to`.
    pub(crate) fn rebased(self, from: &EndpointStats, to: &EndpointStats) -> Self {
        let rebased = |age| to.age_of(age, from);
        Self { started: rebased(self.started), ended: rebased(self.ended), ..self }
    }

    #[inline]
    pub(super) fn of_class(self, class: u32) -> Self {
        Self { class, ..self }
    }

    /// Returns the attempt as it was when it began.
    #[inline]
    #[must_use]
    pub fn start(&self) -> Start {
        Start { class: self.class, started: self.started }
    }

    /// Returns how the attempt ended.
    #[inline]
    #[must_use]
    pub fn outcome(&self) -> &'a Outcome {
        self.outcome
    }

    /// Returns the time from the pick to the first byte of the response, or to the end if there was
    /// none. `None` if no meter needs latency.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency_nanos().map(Duration::from_nanos)
    }

    #[inline]
    pub(crate) fn latency_nanos(&self) -> Option<u64> {
        (self.ended > 0).then(|| self.ended.saturating_sub(self.started))
    }

    /// Returns true if the response had begun, so that the latency is the endpoint's and not the
    /// time that the caller waited.
    #[must_use]
    pub fn has_response(&self) -> bool {
        self.responded
    }

    /// Returns true if [`Meter::first_byte`] was called for the attempt.
    #[must_use]
    pub fn had_first_byte(&self) -> bool {
        self.begun
    }

    /// Returns the age of the stats when the attempt ended or got its first byte. Reads the clock
    /// if it was not measured.
    pub(crate) fn age(&self, stats: &EndpointStats) -> u64 {
        if self.ended > 0 { self.ended } else { stats.age(Instant::now()) }
    }
}
