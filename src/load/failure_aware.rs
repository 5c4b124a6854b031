use std::{sync::Arc, time::Duration};

use super::{Gauge, Load, Now, Score, decayed::Decayed};
use crate::{
    endpoint::Vitals,
    outcome::{Meter, Outcome, Sample},
};

/// Any other load, made worse by recent failures, so that an endpoint which fails fast does not look
/// idle and attract the traffic.
///
/// It keeps a success rate: a moving average that each result moves by a fifth, forgiven with a time
/// constant of 10 s (so a failed endpoint is tried again). The inner load is divided by the cube of
/// that rate, and counts one request more than there is: one failure doubles the load, five in a row
/// multiply it by 28, ten by 800.
///
/// An [`Outcome::Overload`] counts as a failure; one with a `retry_after` is forgiven only from then
/// on. [`Outcome::Cancelled`] counts as nothing. While nothing fails it
/// neither reads the clock nor writes.
///
/// Source: the success rate in go-zero's P2C and the error charge that linkerd's load biaser and
/// Apache brpc put on latency. Where we differ: the charge is on the load itself, so it works for
/// loads without a latency too and does not have to guess a latency for an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailureAware<L> {
    inner: L,
}

/// How far one result moves the success rate.
const STEP: f32 = 0.2;
/// Time constant, in seconds, with which failures are forgiven.
const FORGIVEN: f64 = 10.0;
/// A failure rate below which an endpoint counts as clean again.
const CLEAN: f32 = 0.001;

impl<L> FailureAware<L> {
    /// Charges failures on top of `inner`.
    pub const fn new(inner: L) -> Self {
        Self { inner }
    }
}

/// The share of recent attempts that failed, 0 to 1, with older ones forgiven.
fn failure_rate(failures: Decayed, age: u64) -> f32 {
    failures.value * (-failures.seconds_since(age) / FORGIVEN).exp() as f32
}

impl<L: Load> Load for FailureAware<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let (score, vitals) = (self.inner.score(gauge, now), gauge.vitals());
        let failures = Decayed::load(vitals.failure_cell());
        if failures.value == 0.0 {
            return score;
        }
        let success = 1.0 - f64::from(failure_rate(failures, vitals.age(now.get())));
        let charge = success.powi(-3).min(1e12);
        // The inner cost may be 0 (unmeasured), which no factor would change.
        Score { cost: score.cost.max(f64::MIN_POSITIVE) * charge, backlog: score.backlog }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(FailureMeter { inner: self.inner.meter() }))
    }
}

#[derive(Debug)]
struct FailureMeter {
    inner: Option<Arc<dyn Meter>>,
}

impl Meter for FailureMeter {
    #[inline]
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(vitals, sample);
        }
        let clean = Decayed::load(vitals.failure_cell()).value == 0.0;
        match sample.outcome() {
            Outcome::Success if clean => {}
            Outcome::Cancelled => {}
            outcome => learn(outcome, vitals, sample.age(vitals)),
        }
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn is_stateless(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.is_stateless())
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

#[cold]
fn learn(outcome: &Outcome, vitals: &Vitals, age: u64) {
    let excused = match *outcome {
        Outcome::Overload { retry_after } => retry_after.unwrap_or_default().min(LONGEST_EXCUSE),
        _ => Duration::ZERO,
    };
    let failed = if outcome.is_failure() { 1.0 } else { 0.0 };
    Decayed::update(vitals.failure_cell(), |failures| {
        let rate = failure_rate(failures, age);
        let rate = rate + STEP * (failed - rate);
        let rate = if rate < CLEAN { 0.0 } else { rate };
        Some(Decayed::new(rate, age + excused.as_nanos() as u64))
    });
}

/// A server that asks to be left alone for longer is not believed.
const LONGEST_EXCUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::load::Outstanding;

    const LOAD: FailureAware<Outstanding> = FailureAware { inner: Outstanding };

    fn record(vitals: &Vitals, outcome: Outcome, now: Instant) {
        let age = vitals.age(now);
        let sample = Sample::new(&outcome).measured(age, age);
        LOAD.meter().unwrap().record(vitals, &sample);
    }

    fn cost(vitals: &Vitals, now: Instant) -> f64 {
        LOAD.score(&Gauge::new(vitals), &mut Now::at(now)).cost
    }

    #[test]
    fn failures_multiply_the_load_as_documented() {
        let (vitals, now) = (Vitals::new(), Instant::now());
        assert_eq!(cost(&vitals, now), 1.0);
        for (failures, expected) in [(1, 1.95), (5, 28.4), (10, 807.0)] {
            while vitals.outcomes().failures() < failures {
                vitals.begin();
                vitals.end(&Outcome::TransportFailure);
                record(&vitals, Outcome::TransportFailure, now);
            }
            let cost = cost(&vitals, now);
            assert!((cost / expected - 1.0).abs() < 0.01, "{failures}: {cost}");
        }
    }

    #[test]
    fn failures_are_forgiven_with_time_and_with_successes() {
        let (vitals, now) = (Vitals::new(), Instant::now());
        (0..5).for_each(|_| record(&vitals, Outcome::ApplicationError, now));
        assert!(cost(&vitals, now + Duration::from_secs(30)) < 1.2);
        (0..40).for_each(|_| record(&vitals, Outcome::Success, now));
        assert_eq!(Decayed::load(vitals.failure_cell()).value, 0.0, "clean, and free again");
    }

    #[test]
    fn cancelled_requests_say_nothing() {
        let (vitals, now) = (Vitals::new(), Instant::now());
        record(&vitals, Outcome::Cancelled, now);
        assert_eq!(cost(&vitals, now), 1.0);
    }

    #[test]
    fn an_overloaded_endpoint_is_left_alone_as_long_as_it_asks() {
        let (vitals, now) = (Vitals::new(), Instant::now());
        let retry_after = Some(Duration::from_secs(60));
        record(&vitals, Outcome::Overload { retry_after }, now);
        let at = |seconds| cost(&vitals, now + Duration::from_secs(seconds));
        assert_eq!(at(0), at(60));
        assert!(at(75) < at(60));

        record(&vitals, Outcome::Overload { retry_after: Some(Duration::MAX) }, now);
        assert!(at(330) < at(300), "five minutes at the most");
    }
}
