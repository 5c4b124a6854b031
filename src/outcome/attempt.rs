use std::sync::Arc;

use tokio::time::Instant;

use super::{Outcome, Sample};
use crate::endpoint::Member;

/// One request at one endpoint, from the pick to the end of its response.
///
/// While it lives, the request counts as in flight. It records its outcome exactly once: by
/// [`finish`](Self::finish), or as [`Outcome::Cancelled`] when dropped. It holds on to the endpoint
/// *instance*: an endpoint that is removed and comes back has nothing to do with older attempts.
#[derive(Debug)]
pub struct Attempt {
    /// Empty once the outcome is recorded.
    member: Option<Arc<Member>>,
    started: Option<Instant>,
    first_byte: Option<Instant>,
}

impl Attempt {
    /// Takes a slot at the endpoint, if it has one free.
    #[inline]
    pub(crate) fn begin(member: &Arc<Member>, started: Option<Instant>) -> Option<Self> {
        if let Some(slots) = &member.slots {
            if !slots.try_acquire() {
                return None;
            }
        }
        member.vitals.begin();
        Some(Self { member: Some(Arc::clone(member)), started, first_byte: None })
    }

    /// The endpoint's name, as errors and the status view give it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.member.as_ref().map_or("", |member| &member.name)
    }

    /// The response has begun. Reads the clock if the strategy measures latency.
    #[inline]
    pub fn first_byte(&mut self) {
        if self.started.is_some() && self.first_byte.is_none() {
            self.first_byte = Some(Instant::now());
        }
    }

    /// Records how the request ended.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    /// Records how the request ended, in the time of a simulation.
    pub fn finish_at(mut self, outcome: Outcome, now: Instant) {
        self.first_byte = Some(now);
        self.end(outcome);
    }

    /// The request was never sent there: counts it out without an outcome.
    pub(crate) fn forgo(mut self) {
        if let Some(member) = self.member.take() {
            member.vitals.forgo();
            Self::release(&member);
        }
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.member.as_ref().map(|member| &member.name)
    }

    pub(crate) fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    #[inline]
    fn end(&mut self, outcome: Outcome) {
        let Some(member) = self.member.take() else {
            return;
        };
        member.vitals.end(&outcome);
        if let Some(meter) = &member.meter {
            meter.record(&member.vitals, &self.sample(outcome));
        }
        Self::release(&member);
    }

    #[inline]
    fn sample(&self, outcome: Outcome) -> Sample {
        let mut sample = Sample::new(outcome);
        if let Some(started) = self.started {
            sample.responded |= self.first_byte.is_some();
            let now = self.first_byte.unwrap_or_else(Instant::now);
            sample = sample.measured(now.saturating_duration_since(started), now);
        }
        sample
    }

    #[inline]
    fn release(member: &Member) {
        if let Some(slots) = &member.slots {
            slots.release();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Attributes, OutcomeCounts, Vitals};

    fn member() -> Arc<Member> {
        Arc::new(Member {
            name: "a".into(),
            attributes: Attributes::default(),
            vitals: Arc::new(Vitals::new()),
            meter: None,
            slots: None,
        })
    }

    fn begin(member: &Arc<Member>) -> Attempt {
        Attempt::begin(member, None).unwrap()
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
