use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    Gauge, Load, Now, Score,
    decayed::{Decayed, exp_neg},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Outcome, Sample},
};

/// Any other load, made worse by recent failures, so that an endpoint which fails fast does not
/// look idle and attract the traffic.
///
/// It keeps a success rate: a moving average that each result moves by a fifth, forgiven with time
/// (so a failed endpoint is tried again). The inner load is divided by the cube of that rate, and
/// counts one request more than there is: one failure doubles the load, five in a row multiply it
/// by 28, ten by 800.
///
/// An endpoint is **failing** from the second failure in a row until its next success. Its failures
/// are forgiven with a time constant of 20 s instead of 10, and cost ten typical loads times the
/// failure rate on top: a load that fades while nothing succeeds, as a latency does, would
/// otherwise call for the next try too soon. A typical load is a moving average over endpoints
/// without failures. Failures that are scattered among successes are charged by the factor alone:
/// where all endpoints fail now and then, fleeing from each failure would cost more than the
/// failures.
///
/// **Where all fail alike nobody is charged.** While most endpoints fail now and then, a rate is charged
/// only as far as it is above the mean of all by more than chance explains: under an overload of the
/// whole fleet, everybody would flee from the endpoint that failed last. While two in five endpoints
/// are clean, nothing is excused.
///
/// An endpoint that was unhealthy, or draining, and is put back into service begins with a clean slate.
///
/// An [`Outcome::Overload`] counts as a failure; one with a `retry_after` is forgiven only from
/// then on. [`Outcome::Cancelled`] counts as nothing. While nothing fails it does not read the
/// clock, and writes nothing but, now and then, what load is typical.
///
/// Source: the success rate in go-zero's P2C and the error charge that linkerd's load biaser and
/// Apache brpc put on latency. Where we differ: the charge is on the load itself, so it works for
/// loads without a latency too and does not have to guess a latency for an error. What each part
/// is worth is measured in `docs/tail-latency.md`.
#[derive(Debug, Default)]
pub struct FailureAware<L> {
    inner: L,
    /// The bits of an `f32`; 0 until learnt.
    typical: AtomicU32,
    /// The failure rate that is common, and the mean of all, as the bits of an `f32`.
    common: AtomicU32,
    mean: AtomicU32,
    /// What all endpoints do is no excuse, because not all of them are looked at alike.
    strict: bool,
}

/// How far one result moves the success rate.
const STEP: f32 = 0.2;
/// Time constants, in seconds, with which failures are forgiven.
const FORGIVEN: f64 = 10.0;
const FORGIVEN_IF_FAILING: f64 = 20.0;
/// A failure rate below which an endpoint counts as clean again.
const CLEAN: f32 = 0.001;
/// Failures in a row that make an endpoint failing.
const FAILING: u32 = 2;
/// What it costs to fail always, in typical loads.
const FAILURE_COST: f64 = 10.0;
/// An endpoint's load is looked at for what is typical after each so many successes.
const TYPICAL_EVERY: u64 = 64;
/// The common failure rate is that which so many endpoints are not above.
const QUANTILE: f32 = 0.4;
/// How far one look at an endpoint moves it, and the mean.
const COMMON_STEP: f32 = 1.0 / 256.0;
/// Clean endpoints are looked at after each so many successes, and count for as many.
const CLEAN_EVERY: u64 = 8;
const _: () = assert!(TYPICAL_EVERY % CLEAN_EVERY == 0, "the one is looked at where the other is");
/// How far above the mean a rate may be by chance, in standard deviations of a moving average that
/// each result moves by a fifth.
const CHANCE: f32 = 1.5;

impl<L> FailureAware<L> {
    /// Charges failures on top of `inner`.
    pub const fn new(inner: L) -> Self {
        Self {
            inner,
            typical: AtomicU32::new(0),
            common: AtomicU32::new(0),
            mean: AtomicU32::new(0),
            strict: false,
        }
    }

    /// The same for strategies that look at some endpoints more than at others.
    pub(crate) fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    fn common(&self) -> f32 {
        f32::from_bits(self.common.load(Ordering::Relaxed))
    }

    fn mean(&self) -> f32 {
        f32::from_bits(self.mean.load(Ordering::Relaxed))
    }

    /// Looks at an endpoint's failure rate, which counts for so many. The common one gives way a little,
    /// so that in the end two in five looks are below it. That others do so at the same time, and one
    /// look is lost, is no harm.
    #[cold]
    fn learn_common(&self, rate: f32, looks: u64) {
        let (common, mean) = (self.common(), self.mean());
        let step = COMMON_STEP * looks as f32;
        let common = if rate > common {
            (common + step * QUANTILE).min(rate)
        } else {
            (common - step * (1.0 - QUANTILE)).max(rate)
        };
        let mean = mean + (rate - mean) * step;
        let mean = if rate == 0.0 && mean < CLEAN { 0.0 } else { mean };
        self.common.store(common.to_bits(), Ordering::Relaxed);
        self.mean.store(mean.to_bits(), Ordering::Relaxed);
    }

    /// The part of a failure rate that the endpoint is charged for.
    fn charged(&self, rate: f32) -> f32 {
        if self.strict || self.common() == 0.0 {
            return rate;
        }
        let mean = self.mean();
        let chance = CHANCE * (mean * (1.0 - mean) * STEP / (2.0 - STEP)).sqrt();
        // Not even where all fail always does one excuse itself entirely.
        let excused = (mean + chance).min(0.9);
        ((rate - excused) / (1.0 - excused)).max(0.0)
    }

    #[inline(never)]
    fn look_closer(
        &self,
        score: Score,
        failures: Decayed,
        stats: &EndpointStats,
        now: &mut Now,
    ) -> Score {
        if failures.value == 0.0 {
            self.learn_clean(score, stats.successes());
            return score;
        }
        let failing = is_failing(stats);
        let rate = failure_rate(failures, stats.age_at(now.moment()), failing);
        let charged = f64::from(self.charged(rate));
        self.learn_common(rate, 1);
        let charge = (1.0 - charged).powi(-3).min(1e12);
        let failing = failing && charged > 0.0;
        let rate = f64::from(rate);
        let cost = if failing { FAILURE_COST * rate * f64::from(self.typical()) } else { 0.0 };
        // The inner cost may be 0 (unmeasured), which no factor would change.
        let inner = score.cost.max(f64::MIN_POSITIVE) * charge;
        Score { cost: inner + cost / (score.backlog + 1.0), backlog: score.backlog }
    }

    /// Learns from an endpoint that has not failed of late, once in so many successes.
    fn learn_clean(&self, score: Score, successes: u64) {
        if self.mean() > 0.0 {
            self.learn_common(0.0, CLEAN_EVERY);
        }
        if successes % TYPICAL_EVERY == 0 && successes > 0 {
            self.learn_typical(score.with_one_more());
        }
    }

    fn typical(&self) -> f32 {
        f32::from_bits(self.typical.load(Ordering::Relaxed))
    }

    #[cold]
    fn learn_typical(&self, load: f64) {
        let (load, typical) = (load as f32, self.typical());
        let learnt = match typical {
            0.0 => load,
            // A load that stands out moves it no further than others.
            _ => typical + (load.min(5.0 * typical) - typical) / 16.0,
        };
        // Written only if that makes a difference: all who pick share it.
        if (learnt - typical).abs() > typical / 100.0 {
            self.typical.store(learnt.to_bits(), Ordering::Relaxed);
        }
    }
}

impl<L: Clone> Clone for FailureAware<L> {
    /// Learns anew what load is typical.
    fn clone(&self) -> Self {
        Self { strict: self.strict, ..Self::new(self.inner.clone()) }
    }
}

/// The share of recent attempts that failed, 0 to 1, with older ones forgiven.
fn failure_rate(failures: Decayed, age: u64, failing: bool) -> f32 {
    let forgiven = if failing { FORGIVEN_IF_FAILING } else { FORGIVEN };
    failures.value * exp_neg(failures.seconds_since(age) / forgiven) as f32
}

fn is_failing(stats: &EndpointStats) -> bool {
    stats.consecutive_failures() >= FAILING
}

impl<L: Load> Load for FailureAware<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let (score, stats) = (self.inner.score(gauge, now), gauge.stats());
        let (failures, successes) = (Decayed::load(stats.failure_cell()), stats.successes());
        if failures.value == 0.0 && successes % CLEAN_EVERY != 0 {
            return score;
        }
        // Kept out of the way of scans: most looks end above.
        self.look_closer(score, failures, stats, now)
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
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
        let clean = Decayed::load(stats.failure_cell()).value == 0.0;
        match sample.outcome() {
            Outcome::Success if clean => {}
            Outcome::Cancelled => {}
            outcome => learn(outcome, stats, sample.age(stats)),
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
fn learn(outcome: &Outcome, stats: &EndpointStats, age: u64) {
    let excused = match *outcome {
        Outcome::Overload { retry_after } => retry_after.unwrap_or_default().min(LONGEST_EXCUSE),
        _ => Duration::ZERO,
    };
    let failed = if outcome.is_failure() { 1.0 } else { 0.0 };
    Decayed::update(stats.failure_cell(), |failures| {
        let rate = failure_rate(failures, age, is_failing(stats));
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

    fn record(stats: &EndpointStats, outcome: Outcome, now: Instant) {
        stats.begin();
        stats.end(&outcome);
        let age = stats.age(now);
        let sample = Sample::new(&outcome).measured(age, age);
        FailureAware::new(Outstanding).meter().unwrap().record(stats, &sample);
    }

    fn cost(stats: &EndpointStats, now: Instant) -> f64 {
        FailureAware::new(Outstanding).score(&Gauge::new(stats), &mut Now::at(now)).cost
    }

    #[test]
    fn failures_multiply_the_load_as_documented() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        assert_eq!(cost(&stats, now), 1.0);
        for (failures, expected) in [(1, 1.95), (5, 28.4), (10, 807.0)] {
            while stats.outcomes().failures() < failures {
                record(&stats, Outcome::TransportFailure, now);
            }
            let cost = cost(&stats, now);
            assert!((cost / expected - 1.0).abs() < 0.01, "{failures}: {cost}");
        }
    }

    #[test]
    fn failures_are_forgiven_with_time_and_with_successes() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        (0..5).for_each(|_| record(&stats, Outcome::ApplicationError, now));
        assert!(cost(&stats, now + Duration::from_secs(60)) < 1.2);
        (0..40).for_each(|_| record(&stats, Outcome::Success, now));
        assert_eq!(Decayed::load(stats.failure_cell()).value, 0.0, "clean, and free again");
    }

    /// A latency fades while nothing succeeds; what a failing endpoint costs does not fade with it.
    #[test]
    fn an_endpoint_that_fails_in_a_row_costs_ten_typical_loads_on_top() {
        // Looked at out of turn, which must excuse nothing.
        let load = FailureAware::new(Outstanding).strict();
        let (clean, bad, now) = (EndpointStats::new(), EndpointStats::new(), Instant::now());
        let cost = |stats, now| load.score(&Gauge::new(stats), &mut Now::at(now)).cost;
        (0..64).for_each(|_| record(&clean, Outcome::Success, now));
        assert_eq!(cost(&clean, now), 1.0);
        assert_eq!(load.typical(), 1.0);
        record(&bad, Outcome::TransportFailure, now);
        let is_about = |cost: f64, expected: f64| (cost - expected).abs() < 0.01;
        assert!(is_about(cost(&bad, now), 1.0 / 0.8_f64.powi(3)), "by the factor alone");
        record(&bad, Outcome::TransportFailure, now);
        let expected = 1.0 / 0.64_f64.powi(3) + 10.0 * 0.36;
        assert!(is_about(cost(&bad, now), expected));
        assert!(cost(&bad, now + Duration::from_secs(20)) > 2.0);
        record(&bad, Outcome::Success, now);
        assert!(cost(&bad, now) < 5.0, "it works again, and is no more than suspect");
    }

    /// The costs of endpoints of which each fails that share of a thousand requests, in turns, while the
    /// strategy looks at all of them all the time: the mean, and by how much they differ.
    fn costs(load: &FailureAware<Outstanding>, failing: &[f64]) -> (Vec<f64>, f64) {
        let (now, mut rng) = (Instant::now(), crate::strategy::Rng::seeded(1));
        let endpoints: Vec<_> =
            failing.iter().map(|share| (EndpointStats::new(), *share)).collect();
        let (mut sums, mut spread) = (vec![0.0; failing.len()], 0.0);
        for _ in 0..1000 {
            let costs = endpoints.iter().map(|(stats, share)| {
                let failed = rng.unit() < *share;
                let outcome = if failed { Outcome::ApplicationError } else { Outcome::Success };
                record(stats, outcome, now);
                load.score(&Gauge::new(stats), &mut Now::at(now)).cost
            });
            let costs: Vec<_> = costs.collect();
            sums.iter_mut().zip(&costs).for_each(|(sum, cost)| *sum += cost / 1000.0);
            let (least, most) = (
                costs.iter().copied().fold(f64::MAX, f64::min),
                costs.iter().copied().fold(0.0, f64::max),
            );
            spread += most / least / 1000.0;
        }
        (sums, spread)
    }

    /// Under an overload of the whole fleet all reject a share. Everybody would flee from the last rejection.
    #[test]
    fn where_all_fail_alike_none_is_much_dearer_than_another() {
        let load = FailureAware::new(Outstanding);
        costs(&load, &[0.2; 4]);
        let (_, spread) = costs(&load, &[0.2; 4]);
        // 3.5 if all of a rate is charged.
        assert!(spread < 1.5, "{spread}");
    }

    #[test]
    fn one_that_fails_is_dear_however_few_there_are() {
        for others in [1, 2, 3, 19] {
            for (share, expected) in [(0.5, 8.0), (1.0, 100.0)] {
                let load = FailureAware::new(Outstanding);
                let mut failing = vec![0.0; others];
                failing.push(share);
                costs(&load, &failing);
                let (costs, _) = costs(&load, &failing);
                assert!(costs[0] < 1.01, "{others} others, {share}: {costs:?}");
                assert!(costs[others] > expected, "{others} others, {share}: {costs:?}");
            }
        }
    }

    #[test]
    fn cancelled_requests_say_nothing() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        record(&stats, Outcome::Cancelled, now);
        assert_eq!(cost(&stats, now), 1.0);
    }

    #[test]
    fn an_overloaded_endpoint_is_left_alone_as_long_as_it_asks() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        let retry_after = Some(Duration::from_secs(60));
        record(&stats, Outcome::Overload { retry_after }, now);
        let at = |seconds| cost(&stats, now + Duration::from_secs(seconds));
        assert_eq!(at(0), at(60));
        assert!(at(75) < at(60));

        record(&stats, Outcome::Overload { retry_after: Some(Duration::MAX) }, now);
        assert!(at(330) < at(300), "five minutes at the most");
    }
}
