use std::sync::Arc;

use tokio::time::Instant;

use super::{LoadReport, Outcome, Remarks, Sample, Start};
use crate::endpoint::{Instance, Member};

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
    member: Option<Arc<Member>>,
    /// Ages of the vitals, in nanoseconds; 0 if not measured.
    started: u64,
    first_byte: u64,
    remarks: Remarks,
}

impl Attempt {
    /// Takes room at the endpoint, if it has any. The latency is measured if it is told when
    /// it started.
    #[inline]
    pub(crate) fn begin(
        member: &Arc<Member>,
        started: Option<Instant>,
        remarks: Remarks,
    ) -> Option<Self> {
        member.enter().then(|| Self::entered(member, started, remarks))
    }

    /// The same at an endpoint at which room has been taken.
    #[inline]
    pub(crate) fn entered(
        member: &Arc<Member>,
        started: Option<Instant>,
        remarks: Remarks,
    ) -> Self {
        member.vitals.begin();
        let started = started.map_or(0, |started| member.vitals.age(started));
        if member.interest.starts {
            member.start(Start { class: remarks.class, started });
        }
        Self { member: Some(Arc::clone(member)), started, first_byte: 0, remarks }
    }

    /// The endpoint's name, as errors and the status view give it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.member.as_ref().map_or("", |member| &member.name)
    }

    /// What the strategy has to say to the tracker about this request
    /// ([`PickContext::set_note`](crate::strategy::PickContext::set_note)); 0 if nothing.
    #[inline]
    #[must_use]
    pub fn note(&self) -> u64 {
        self.remarks.note
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
        if let (1.., 0, Some(member)) = (self.started, self.first_byte, &self.member) {
            self.first_byte = member.vitals.age(now());
            if member.interest.first_bytes {
                member.first_byte(Start { class: self.remarks.class, started: self.started });
            }
        }
    }

    /// True if somebody wants [`report`](Self::report)s, so that they are worth looking for.
    #[inline]
    #[must_use]
    pub fn wants_reports(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.interest.reports)
    }

    /// Passes on what the endpoint says of its load.
    pub fn report(&self, report: &LoadReport) {
        if self.wants_reports() {
            self.report_at(report, Instant::now());
        }
    }

    /// Passes on what the endpoint says of its load, in the time of a simulation.
    pub fn report_at(&self, report: &LoadReport, now: Instant) {
        if let Some(member) = &self.member {
            member.report(report, now);
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
    pub(crate) fn forgo(mut self) {
        if let Some(member) = self.member.take() {
            member.vitals.forgo();
            member.give_back();
            if member.interest.starts {
                let sample = Sample::new(&Outcome::Cancelled).of_class(self.remarks.class);
                let sample = sample.measured(self.started, self.started);
                let told = member.meters().filter(|meter| meter.needs_starts());
                told.for_each(|meter| meter.record(&member.vitals, &sample));
            }
            member.exit();
        }
    }

    /// The endpoint; `None` once the attempt is over.
    #[must_use]
    pub fn instance(&self) -> Option<Instance> {
        self.member.as_ref().map(|member| Instance::of(&member.name, &member.vitals))
    }

    pub(crate) fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    #[inline]
    fn end(&mut self, outcome: &Outcome, now: impl FnOnce() -> Instant) {
        let Some(member) = self.member.take() else { return };
        member.vitals.end(outcome);
        let mut meters = member.meters();
        if let Some(meter) = meters.next() {
            let mut sample = Sample::new(outcome).begun(self.first_byte > 0);
            sample = sample.of_class(self.remarks.class);
            if self.started > 0 {
                let ended = match self.first_byte {
                    0 => member.vitals.age(now()),
                    first_byte => first_byte,
                };
                sample = sample.measured(self.started, ended);
            }
            meter.record(&member.vitals, &sample);
            for meter in meters {
                meter.record(&member.vitals, &sample);
            }
        }
        member.exit();
    }

    #[cold]
    fn cancel(&mut self) {
        self.end(&Outcome::Cancelled, Instant::now);
    }
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        if self.member.is_some() {
            self.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Attributes, OutcomeCounts, Vitals};

    fn member() -> Arc<Member> {
        let vitals = Arc::new(Vitals::new());
        Arc::new(Member::new("a".into(), Attributes::default(), vitals, None, None, None))
    }

    fn begin(member: &Arc<Member>) -> Attempt {
        Attempt::begin(member, None, Remarks::default()).unwrap()
    }

    #[test]
    fn an_attempt_is_in_flight_until_it_is_over_and_counted_once() {
        let member = member();
        let (first, second, third) = (begin(&member), begin(&member), begin(&member));
        assert_eq!(member.vitals.outstanding(), 3);
        first.finish(Outcome::Success);
        second.finish(Outcome::Overload { retry_after: None });
        drop(third);
        assert_eq!(member.vitals.outstanding(), 0);
        let expected =
            OutcomeCounts { success: 1, overload: 1, cancelled: 1, ..OutcomeCounts::default() };
        assert_eq!(member.vitals.outcomes(), expected);
    }

    #[test]
    fn an_attempt_that_was_not_sent_leaves_no_outcome() {
        let member = member();
        begin(&member).forgo();
        assert_eq!(member.vitals.outstanding(), 0);
        assert_eq!(member.vitals.outcomes().total(), 0);
    }
}
