use std::sync::Arc;

use tokio::time::Instant;

use super::{LoadReport, Outcome, PickMetadata, Sample, Start};
use crate::endpoint::{EndpointId, EndpointState};

/// One request at one endpoint, from the pick to the end of its response.
///
/// While it lives, the request counts as in flight. It records its outcome exactly once: by
/// [`finish`](Self::finish), or as [`Outcome::Cancelled`] when dropped. It holds on to the endpoint
/// *instance*: an endpoint that is removed and comes back has nothing to do with older attempts.
///
/// All of it is plain words, so that it moves from the pick to the response without a stall.
#[derive(Debug)]
pub struct Attempt {
    /// Empty once the outcome is recorded.
    endpoint_state: Option<Arc<EndpointState>>,
    /// Ages of the vitals, in nanoseconds; 0 if not measured.
    started: u64,
    first_byte: u64,
    pick_metadata: PickMetadata,
}

impl Attempt {
    /// Takes room at the endpoint, if it has any. The latency is measured if it is told when
    /// it started.
    #[inline]
    pub(crate) fn begin(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Instant>,
        pick_metadata: PickMetadata,
    ) -> Option<Self> {
        endpoint_state.enter().then(|| Self::entered(endpoint_state, started, pick_metadata))
    }

    /// The same at an endpoint at which room has been taken.
    #[inline]
    pub(crate) fn entered(
        endpoint_state: &Arc<EndpointState>,
        started: Option<Instant>,
        pick_metadata: PickMetadata,
    ) -> Self {
        endpoint_state.stats.begin();
        let started = started.map_or(0, |started| endpoint_state.stats.age(started));
        if endpoint_state.interest.starts {
            endpoint_state.start(Start { class: pick_metadata.class, started });
        }
        Self {
            endpoint_state: Some(Arc::clone(endpoint_state)),
            started,
            first_byte: 0,
            pick_metadata,
        }
    }

    /// The endpoint's name, as errors and the status view give it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint_state.as_ref().map_or("", |endpoint_state| &endpoint_state.name)
    }

    /// What the strategy has to say to the tracker about this request
    /// ([`PickContext::set_metadata`](crate::strategy::PickContext::set_metadata)); 0 if nothing.
    #[inline]
    #[must_use]
    pub fn note(&self) -> u64 {
        self.pick_metadata.note
    }

    /// The response has begun. Reads the clock if the strategy measures latency.
    #[inline]
    pub fn first_byte(&mut self) {
        self.respond(Instant::now);
    }

    /// The response has begun, in the time of a simulation.
    pub fn first_byte_at(&mut self, now: Instant) {
        self.respond(|| now);
    }

    #[inline]
    fn respond(&mut self, now: impl FnOnce() -> Instant) {
        if let (1.., 0, Some(endpoint_state)) =
            (self.started, self.first_byte, &self.endpoint_state)
        {
            self.first_byte = endpoint_state.stats.age(now());
            if endpoint_state.interest.first_bytes {
                endpoint_state
                    .first_byte(Start { class: self.pick_metadata.class, started: self.started });
            }
        }
    }

    /// True if somebody wants [`report`](Self::report)s, so that they are worth looking for.
    #[inline]
    #[must_use]
    pub fn wants_reports(&self) -> bool {
        self.endpoint_state.as_ref().is_some_and(|endpoint_state| endpoint_state.interest.reports)
    }

    /// Passes on what the endpoint says of its load.
    pub fn report(&self, report: &LoadReport) {
        if self.wants_reports() {
            self.report_at(report, Instant::now());
        }
    }

    /// Passes on what the endpoint says of its load, in the time of a simulation.
    pub fn report_at(&self, report: &LoadReport, now: Instant) {
        if let Some(endpoint_state) = &self.endpoint_state {
            endpoint_state.report(report, now);
        }
    }

    /// Records how the request ended.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.end(&outcome, Instant::now);
    }

    /// Records how the request ended, in the time of a simulation.
    pub fn finish_at(mut self, outcome: Outcome, now: Instant) {
        self.end(&outcome, || now);
    }

    /// The request was never sent there: counts it out without an outcome. Meters that were told of
    /// the start are told that it was cancelled.
    pub(crate) fn abandon(mut self) {
        if let Some(endpoint_state) = self.endpoint_state.take() {
            endpoint_state.stats.abandon();
            endpoint_state.give_back();
            if endpoint_state.interest.starts {
                let sample = Sample::new(&Outcome::Cancelled).of_class(self.pick_metadata.class);
                let sample = sample.measured(self.started, self.started);
                let told = endpoint_state.meters().filter(|meter| meter.needs_starts());
                told.for_each(|meter| meter.record(&endpoint_state.stats, &sample));
            }
            endpoint_state.exit();
        }
    }

    /// The endpoint; `None` once the attempt is over.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<EndpointId> {
        self.endpoint_state
            .as_ref()
            .map(|endpoint_state| EndpointId::of(&endpoint_state.name, &endpoint_state.stats))
    }

    pub(crate) fn endpoint_state(&self) -> Option<&Arc<EndpointState>> {
        self.endpoint_state.as_ref()
    }

    #[inline]
    fn end(&mut self, outcome: &Outcome, now: impl FnOnce() -> Instant) {
        let Some(endpoint_state) = self.endpoint_state.take() else { return };
        endpoint_state.stats.end(outcome);
        let mut meters = endpoint_state.meters();
        if let Some(meter) = meters.next() {
            let mut sample = Sample::new(outcome).begun(self.first_byte > 0);
            sample = sample.of_class(self.pick_metadata.class);
            if self.started > 0 {
                let ended = match self.first_byte {
                    0 => endpoint_state.stats.age(now()),
                    first_byte => first_byte,
                };
                sample = sample.measured(self.started, ended);
            }
            meter.record(&endpoint_state.stats, &sample);
            for meter in meters {
                meter.record(&endpoint_state.stats, &sample);
            }
        }
        endpoint_state.exit();
    }

    #[cold]
    fn cancel(&mut self) {
        self.end(&Outcome::Cancelled, Instant::now);
    }
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        if self.endpoint_state.is_some() {
            self.cancel();
        }
    }
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
        Attempt::begin(endpoint_state, None, PickMetadata::default()).unwrap()
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
