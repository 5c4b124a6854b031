use std::sync::Arc;

use tokio::time::Instant;

use super::{LoadReport, Outcome, PickMetadata, Sample, Start};
use crate::endpoint::{Durations, EndpointId, EndpointState, Moment, Successes};

/// One request at one endpoint, from the pick to the end of its response.
///
/// The request counts as in flight as long as the attempt exists. The attempt records its outcome
/// exactly once: with [`finish`](Self::finish), or as [`Outcome::Cancelled`] when it is dropped. It
/// belongs to one *instance* of the endpoint: an endpoint that is removed and comes back does not
/// see the outcomes of older attempts.
// Plain words, none of which is behind a reference that a function gets: so the compiler can keep
// them in registers, and moves them without a stall.
#[derive(Debug)]
pub struct Attempt {
    /// `None` while the attempt is dropped after its outcome was recorded. An option instead of a
    /// flag, so that the drop is small enough to be inlined.
    endpoint_state: Option<Arc<EndpointState>>,
    times: Times,
    metadata: u64,
    class: u32,
    choice: Choice,
}

/// Whether the balancer had another endpoint that was not tried. A whole word, in which an `Option`
/// of an attempt is marked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Choice {
    OneOfMany,
    Last,
}

/// Ages of the endpoint's stats, in nanoseconds; 0 if not measured.
#[derive(Clone, Copy, Debug)]
struct Times {
    started: u64,
    first_byte: u64,
}

impl Attempt {
    /// Takes room at the endpoint and begins an attempt; returns `None` if there is no room. The
    /// latency is measured if `started` is known.
    #[inline(always)]
    pub(crate) fn begin(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Moment>,
        pick_metadata: PickMetadata,
        is_last_choice: bool,
    ) -> Option<Self> {
        if !endpoint_state.interest.plain_start {
            return Self::begin_watched(endpoint_state, started, pick_metadata, is_last_choice);
        }
        Some(Self::counted(endpoint_state, started, pick_metadata, is_last_choice))
    }

    /// Begins an attempt that takes room, or whose start a meter needs.
    #[inline(never)]
    fn begin_watched(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Moment>,
        pick_metadata: PickMetadata,
        is_last_choice: bool,
    ) -> Option<Self> {
        let entered = endpoint_state.enter();
        entered.then(|| Self::entered(endpoint_state, started, pick_metadata, is_last_choice))
    }

    /// Begins an attempt at an endpoint at which room has been taken.
    pub(crate) fn entered(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Moment>,
        pick_metadata: PickMetadata,
        is_last_choice: bool,
    ) -> Self {
        let attempt = Self::counted(endpoint_state, started, pick_metadata, is_last_choice);
        if endpoint_state.interest.starts {
            let (class, started) = (attempt.class, attempt.times.started);
            endpoint_state.start(Start { class, started });
        }
        attempt
    }

    /// Counts an attempt in.
    #[inline(always)]
    fn counted(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Moment>,
        PickMetadata { class, note: metadata }: PickMetadata,
        is_last_choice: bool,
    ) -> Self {
        endpoint_state.stats.begin();
        let started = started.map_or(0, |started| endpoint_state.stats.age_at(started));
        Self {
            endpoint_state: Some(Arc::clone(endpoint_state)),
            times: Times { started, first_byte: 0 },
            metadata,
            class,
            choice: if is_last_choice { Choice::Last } else { Choice::OneOfMany },
        }
    }

    #[inline]
    pub(crate) fn endpoint_state(&self) -> &Arc<EndpointState> {
        match &self.endpoint_state {
            Some(endpoint_state) => endpoint_state,
            None => unreachable!("what takes it consumes the attempt"),
        }
    }

    /// Returns the endpoint's key as text.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint_state().name
    }

    /// Returns the endpoint.
    #[must_use]
    pub fn endpoint_id(&self) -> EndpointId {
        let endpoint_state = self.endpoint_state();
        EndpointId::of(&endpoint_state.name, &endpoint_state.stats, self.is_last_choice())
    }

    /// Returns true if the balancer had no other endpoint that was not tried.
    pub(crate) fn is_last_choice(&self) -> bool {
        self.choice == Choice::Last
    }

    /// Returns the number that the strategy has left for the tracker
    /// ([`PickContext::set_metadata`](crate::strategy::PickContext::set_metadata)); 0 if none.
    #[inline]
    #[must_use]
    pub fn metadata(&self) -> u64 {
        self.metadata
    }

    /// Records that the response has begun. Reads the clock if the strategy measures latency.
    #[inline]
    pub fn first_byte(&mut self) {
        self.respond(Instant::now);
    }

    /// Records that the response has begun, in the time of a simulation.
    pub fn first_byte_at(&mut self, now: Instant) {
        self.respond(|| now);
    }

    #[inline]
    fn respond(&mut self, now: impl FnOnce() -> Instant) {
        let Times { started, first_byte } = self.times;
        if started > 0 && first_byte == 0 {
            let first_byte = self.endpoint_state().stats.age(now());
            self.times.first_byte = first_byte;
            if self.endpoint_state().interest.first_bytes {
                self.endpoint_state().first_byte(Start { class: self.class, started });
            }
        }
    }

    /// Returns true if a meter needs [`report`](Self::report)s, so that they are worth parsing.
    #[inline]
    #[must_use]
    pub fn wants_reports(&self) -> bool {
        self.endpoint_state().interest.reports
    }

    /// Passes the endpoint's load report on to the meters.
    pub fn report(&self, report: &LoadReport) {
        if self.wants_reports() {
            self.report_at(report, Instant::now());
        }
    }

    /// Passes the endpoint's load report on to the meters, in the time of a simulation.
    pub fn report_at(&self, report: &LoadReport, now: Instant) {
        self.endpoint_state().report(report, now);
    }

    /// Records how the request ended.
    // Always inlined: a call would move the attempt through memory once more.
    #[inline(always)]
    pub fn finish(mut self, outcome: Outcome) {
        let Some(endpoint_state) = self.endpoint_state.take() else { return };
        let is_success = matches!(outcome, Outcome::Success);
        if is_success && endpoint_state.interest.successes != Successes::Others {
            succeed(&endpoint_state, self.times, self.class);
        } else {
            record(&endpoint_state, self.times, self.class, &outcome, Instant::now);
        }
    }

    /// Records how the request ended, in the time of a simulation.
    pub fn finish_at(mut self, outcome: Outcome, now: Instant) {
        if let Some(endpoint_state) = self.endpoint_state.take() {
            record(&endpoint_state, self.times, self.class, &outcome, || now);
        }
    }

    /// Ends an attempt whose request was not sent, without an outcome. Meters that saw it start see
    /// it cancelled.
    pub(crate) fn abandon(mut self) {
        let Some(endpoint_state) = self.endpoint_state.take() else { return };
        endpoint_state.stats.abandon();
        endpoint_state.give_back();
        if endpoint_state.interest.starts {
            let Times { started, .. } = self.times;
            let sample = Sample::new(&Outcome::Cancelled).of_class(self.class);
            let sample = sample.measured(started, started);
            let meters = endpoint_state.meters().filter(|meter| meter.needs_starts());
            meters.for_each(|meter| meter.record(&endpoint_state.stats, &sample));
        }
        // Last: the request that gets the slot then sees the figures without this attempt.
        endpoint_state.exit();
    }
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        if let Some(endpoint_state) = self.endpoint_state.take() {
            cancel(endpoint_state, self.times, self.class);
        }
    }
}

#[cold]
#[inline(never)]
fn cancel(endpoint_state: Arc<EndpointState>, times: Times, class: u32) {
    record(&endpoint_state, times, class, &Outcome::Cancelled, Instant::now);
}

/// Does what [`record`] does after a success that at most the strategy's meter sees: most requests
/// end here.
#[inline(always)]
fn succeed(endpoint_state: &EndpointState, times: Times, class: u32) {
    let stats = &endpoint_state.stats;
    stats.succeed();
    if let Some(meter) = endpoint_state.meter_of_successes() {
        let mut ended = times.first_byte;
        if times.started > 0 && ended == 0 {
            ended = stats.age(Instant::now());
        }
        meter.record(stats, &sample(times, class, &Outcome::Success, ended));
    }
}

/// Returns what meters see of an attempt. `ended` is 0 if no latency is measured.
#[inline]
fn sample(times: Times, class: u32, outcome: &Outcome, ended: u64) -> Sample<'_> {
    let sample = Sample::new(outcome).begun(times.first_byte > 0).of_class(class);
    sample.measured(times.started, ended)
}

/// Records the outcome of an attempt, and releases what it held.
#[inline(never)]
fn record(
    endpoint_state: &EndpointState,
    times: Times,
    class: u32,
    outcome: &Outcome,
    now: impl FnOnce() -> Instant,
) {
    let Times { started, first_byte } = times;
    endpoint_state.stats.end(outcome);
    // At most one reading of the clock, and none if no meter needs the time.
    let mut ended = 0;
    if started > 0 && (first_byte == 0 || endpoint_state.interest.durations) {
        ended = endpoint_state.stats.age(now());
    }
    if let Some(durations) = endpoint_state.durations() {
        measure(durations, times, outcome, ended);
    }
    let sample = sample(times, class, outcome, if first_byte > 0 { first_byte } else { ended });
    for meter in endpoint_state.meters() {
        meter.record(&endpoint_state.stats, &sample);
    }
    if endpoint_state.interest.rationed {
        endpoint_state.ended();
    }
    // Last: the request that gets the slot then sees the figures with this outcome.
    endpoint_state.exit();
}

/// Counts how long the attempt took, unless the caller has given up.
fn measure(durations: &Durations, times: Times, outcome: &Outcome, ended: u64) {
    if matches!(outcome, Outcome::Cancelled) {
        return;
    }
    let first_byte = match times.first_byte {
        // A response that is there at once ends when it begins.
        0 => matches!(outcome, Outcome::Success).then_some(ended),
        first_byte => Some(first_byte),
    };
    let since = |age: u64| age.saturating_sub(times.started);
    durations.record(first_byte.map(since), since(ended));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Attributes, EndpointStats, OutcomeCounts};

    fn endpoint_state() -> Arc<EndpointState> {
        let stats = Arc::new(EndpointStats::new());
        Arc::new(EndpointState::new("a".into(), Attributes::default(), stats, None, None, None))
    }

    fn begin(endpoint_state: &Arc<EndpointState>) -> Attempt {
        Attempt::begin(endpoint_state, None, PickMetadata::default(), false).unwrap()
    }

    #[test]
    fn an_attempt_is_in_flight_until_it_is_over_and_counted_once() {
        let endpoint_state = endpoint_state();
        let (first, second, third) =
            (begin(&endpoint_state), begin(&endpoint_state), begin(&endpoint_state));
        assert_eq!(endpoint_state.stats.outstanding(), 3);
        first.finish(Outcome::Success);
        second.finish(Outcome::Overload { retry_after: None });
        drop(third);
        assert_eq!(endpoint_state.stats.outstanding(), 0);
        let expected =
            OutcomeCounts { success: 1, overload: 1, cancelled: 1, ..OutcomeCounts::default() };
        assert_eq!(endpoint_state.stats.outcomes(), expected);
    }

    #[test]
    fn an_attempt_that_was_not_sent_leaves_no_outcome() {
        let endpoint_state = endpoint_state();
        begin(&endpoint_state).abandon();
        assert_eq!(endpoint_state.stats.outstanding(), 0);
        assert_eq!(endpoint_state.stats.outcomes().total(), 0);
    }
}
