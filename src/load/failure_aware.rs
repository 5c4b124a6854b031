use std::{sync::Arc, time::Duration};

use super::{
    Gauge, Load, Now, Score,
    decayed::{AtomicF32, Decayed, exp_neg},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Outcome, Sample},
};

/// Raises another load by recent failures, so that an endpoint that fails fast does not look idle
/// and attract the traffic.
///
/// # Failure rate
///
/// Each endpoint has a failure rate `f` from 0 to 1. A result `x` (1 for a failure, 0 for a
/// success), a time `t` after the one before, changes it to
///
/// ```text
/// f' = f * k + (x - f * k) / 5,   k = exp(-t / T)
/// ```
///
/// `T` is 10 s, or 20 s while the endpoint is **failing**: from the second consecutive failure
/// until the next success. A rate below 0.001 counts as 0. An [`Outcome::Overload`] counts as a
/// failure; with a `retry_after`, the time `t` begins only when that has passed (at most 300 s). An
/// [`Outcome::Cancelled`] does not count. An endpoint that was unhealthy or draining and returns to
/// service starts with `f = 0`.
///
/// # Load
///
/// With the inner load `l` (one more request included) and the charged part `p` of `f`, the load is
///
/// ```text
/// l / (1 - p)^3                  while not failing, or if p = 0
/// l / (1 - p)^3 + 10 * f * l_t   while failing
/// ```
///
/// One failure doubles the load, five consecutive ones multiply it by 28, ten by 800. `l_t` is a
/// typical load: a moving average over endpoints without failures. Without the second term, a load
/// that decays while nothing succeeds, as a latency does, would cause the next attempt too soon.
/// Failures scattered among successes are charged by the factor alone: if all endpoints fail
/// occasionally, avoiding each failure would cost more than the failures.
///
/// # Failures that all endpoints share
///
/// `p` is `f` while at least two in five endpoints are without failures. Otherwise `p` is the part
/// of `f` that exceeds the mean rate `m` of all endpoints by more than chance:
///
/// ```text
/// p = max(0, (f - e) / (1 - e)),   e = min(0.9, m + 1.5 * s),   s = sqrt(m * (1 - m) / 9)
/// ```
///
/// `s` is the standard deviation of `f` at an endpoint that fails with the probability `m`. Under
/// an overload of all endpoints, all clients would otherwise avoid the endpoint that failed last.
///
/// # Cost
///
/// Without failures, no clock is read, and nothing is written but, occasionally, the typical load.
///
/// Source: the success rate in go-zero's P2C, and the error charge that linkerd's load biaser and
/// Apache brpc put on latency. Where this differs: the charge is on the load, so it also works for
/// loads without a latency, and no latency of an error has to be guessed. `docs/tail-latency.md`
/// has the measured effect of each part.
#[derive(Debug, Default)]
pub struct FailureAware<L> {
    inner: L,
    /// `l_t`; 0 before the first sample.
    typical: AtomicF32,
    /// The failure rate that two in five endpoints do not exceed.
    common: AtomicF32,
    /// `m`
    mean: AtomicF32,
    /// `p` is always `f`, because the strategy does not consider all endpoints equally often: the
    /// common and the mean rate would be wrong.
    strict: bool,
}

/// How far one result moves the failure rate.
const RATE_STEP: f32 = 0.2;
/// The time constants with which failures are forgiven.
const DECAY_SECS: f64 = 10.0;
const FAILING_DECAY_SECS: f64 = 20.0;
/// A failure rate below this counts as 0.
const MIN_RATE: f32 = 0.001;
/// The number of consecutive failures from which an endpoint is failing.
const MIN_FAILING: u32 = 2;
/// The cost of a failing endpoint with a failure rate of 1, in typical loads.
const FAILING_COST: f64 = 10.0;
/// The typical load learns from an endpoint once in this many successes.
const SUCCESSES_PER_TYPICAL: u64 = 64;
/// The common failure rate is this quantile of the rates.
const COMMON_QUANTILE: f32 = 0.4;
/// How far one sample moves the common and the mean failure rate.
const COMMON_STEP: f32 = 1.0 / 256.0;
/// Endpoints without failures are sampled once in this many successes, and count for as many
/// samples.
const SUCCESSES_PER_CLEAN: u64 = 8;
const _: () = assert!(
    SUCCESSES_PER_TYPICAL % SUCCESSES_PER_CLEAN == 0,
    "the typical load learns from clean samples"
);
/// How far above the mean a rate may be by chance, in standard deviations.
const CHANCE_DEVIATIONS: f32 = 1.5;
/// The largest part of a failure rate that is excused: even if all endpoints fail always, failing
/// costs.
const MAX_EXCUSED: f32 = 0.9;
/// A longer `retry_after` counts as this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

impl<L> FailureAware<L> {
    /// Raises `inner` by failures.
    pub const fn new(inner: L) -> Self {
        let [typical, common, mean] = [AtomicF32::zero(), AtomicF32::zero(), AtomicF32::zero()];
        Self { inner, typical, common, mean, strict: false }
    }

    /// For strategies that consider some endpoints more often than others.
    pub(crate) fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Learns from the failure rate of an endpoint, which counts for `samples` samples.
    ///
    /// The common rate moves up by 0.4 steps for a rate above it and down by 0.6 steps for one
    /// below, so it settles where two in five rates are below. Another thread may overwrite the
    /// update: one lost sample does not matter to an average.
    #[cold]
    fn learn_common(&self, rate: f32, samples: u64) {
        let (common, mean) = (self.common.load(), self.mean.load());
        let step = COMMON_STEP * samples as f32;
        self.common.store(if rate > common {
            (common + step * COMMON_QUANTILE).min(rate)
        } else {
            (common - step * (1.0 - COMMON_QUANTILE)).max(rate)
        });
        let mean = mean + (rate - mean) * step;
        // Exactly 0 in the end, so that endpoints without failures need no more samples.
        self.mean.store(if rate == 0.0 && mean < MIN_RATE { 0.0 } else { mean });
    }

    /// Returns `p`, the part of a failure rate that is charged.
    fn charged(&self, rate: f32) -> f32 {
        if self.strict || self.common.load() == 0.0 {
            return rate;
        }
        let mean = self.mean.load();
        // The variance of an average that each result, of variance m * (1 - m), moves by a step a
        // is m * (1 - m) * a / (2 - a).
        let deviation = (mean * (1.0 - mean) * RATE_STEP / (2.0 - RATE_STEP)).sqrt();
        let excused = (mean + CHANCE_DEVIATIONS * deviation).min(MAX_EXCUSED);
        ((rate - excused) / (1.0 - excused)).max(0.0)
    }

    /// Scores an endpoint with failures, or samples one without. Not inlined: most scores of a scan
    /// over many endpoints end before it.
    #[inline(never)]
    fn score_with_failures(&self, score: Score, stats: &EndpointStats, now: &mut Now) -> Score {
        let failures = Decayed::load(stats.failure_cell());
        if failures.value == 0.0 {
            self.learn_clean(score, stats.successes());
            return score;
        }
        let failing = is_failing(stats);
        let rate = failure_rate(failures, stats.age_at(now.moment()), failing);
        // Before this sample changes the mean.
        let charged = f64::from(self.charged(rate));
        self.learn_common(rate, 1);
        let factor = (1.0 - charged).powi(-3).min(1e12);
        let surcharge = if failing && charged > 0.0 {
            FAILING_COST * f64::from(rate) * f64::from(self.typical.load())
        } else {
            0.0
        };
        // The inner cost is 0 for an endpoint that is not measured yet, and no factor would raise
        // that.
        let inner = score.cost.max(f64::MIN_POSITIVE) * factor;
        // The load is cost * (backlog + 1); the surcharge does not depend on the backlog.
        Score { cost: inner + surcharge / (score.backlog + 1.0), backlog: score.backlog }
    }

    /// Learns from an endpoint without failures.
    fn learn_clean(&self, score: Score, successes: u64) {
        if self.mean.load() > 0.0 {
            self.learn_common(0.0, SUCCESSES_PER_CLEAN);
        }
        if successes % SUCCESSES_PER_TYPICAL == 0 && successes > 0 {
            self.learn_typical(score.with_one_more());
        }
    }

    #[cold]
    fn learn_typical(&self, load: f64) {
        let (load, typical) = (load as f32, self.typical.load());
        let next = match typical {
            0.0 => load,
            // The limit keeps a single extreme load from moving the average far.
            _ => typical + (load.min(5.0 * typical) - typical) / 16.0,
        };
        // All picks read this word: it is written only if the difference matters.
        if (next - typical).abs() > typical / 100.0 {
            self.typical.store(next);
        }
    }
}

impl<L: Clone> Clone for FailureAware<L> {
    /// Clones the settings. The clone learns the typical load and the common failures anew.
    fn clone(&self) -> Self {
        Self { strict: self.strict, ..Self::new(self.inner.clone()) }
    }
}

/// Returns `f * k`: the failure rate at `age`.
fn failure_rate(failures: Decayed, age: u64, failing: bool) -> f32 {
    let decay = if failing { FAILING_DECAY_SECS } else { DECAY_SECS };
    failures.value * exp_neg(failures.seconds_since(age) / decay) as f32
}

fn is_failing(stats: &EndpointStats) -> bool {
    stats.consecutive_failures() >= MIN_FAILING
}

impl<L: Load> Load for FailureAware<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let (score, stats) = (self.inner.score(gauge, now), gauge.stats());
        if !stats.has_failures() && stats.successes() % SUCCESSES_PER_CLEAN != 0 {
            return score;
        }
        // A copy, so that the time of the pick need not be in memory where this is inlined.
        let mut time = *now;
        let score = self.score_with_failures(score, stats, &mut time);
        *now = time;
        score
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
        let is_clean = Decayed::load(stats.failure_cell()).value == 0.0;
        match sample.outcome() {
            // Most requests end here, without a clock read or a write.
            Outcome::Success if is_clean => {}
            Outcome::Cancelled => {}
            outcome => learn_result(outcome, stats, sample.age(stats)),
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

    fn ignores_successes(&self) -> bool {
        self.inner.is_none()
    }
}

#[cold]
fn learn_result(outcome: &Outcome, stats: &EndpointStats, age: u64) {
    let retry_after = match *outcome {
        Outcome::Overload { retry_after } => retry_after.unwrap_or_default().min(MAX_RETRY_AFTER),
        _ => Duration::ZERO,
    };
    let failed = if outcome.is_failure() { 1.0 } else { 0.0 };
    Decayed::update(stats.failure_cell(), |failures| {
        let rate = failure_rate(failures, age, is_failing(stats));
        let rate = rate + RATE_STEP * (failed - rate);
        let rate = if rate < MIN_RATE { 0.0 } else { rate };
        // A time in the future: until then, nothing is forgiven.
        Some(Decayed::new(rate, age + retry_after.as_nanos() as u64))
    });
}

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
        assert_eq!(
            Decayed::load(stats.failure_cell()).value,
            0.0,
            "clean: nothing is recorded any more"
        );
    }

    /// A latency decays while nothing succeeds; the cost of a failing endpoint does not decay with
    /// it.
    #[test]
    fn a_failing_endpoint_costs_up_to_ten_typical_loads_on_top() {
        // Endpoints are not considered equally often here, so nothing may be excused.
        let load = FailureAware::new(Outstanding).strict();
        let (clean, bad, now) = (EndpointStats::new(), EndpointStats::new(), Instant::now());
        let cost = |stats, now| load.score(&Gauge::new(stats), &mut Now::at(now)).cost;
        (0..64).for_each(|_| record(&clean, Outcome::Success, now));
        assert_eq!(cost(&clean, now), 1.0);
        assert_eq!(load.typical.load(), 1.0);
        record(&bad, Outcome::TransportFailure, now);
        let is_about = |cost: f64, expected: f64| (cost - expected).abs() < 0.01;
        assert!(is_about(cost(&bad, now), 1.0 / 0.8_f64.powi(3)), "by the factor alone");
        record(&bad, Outcome::TransportFailure, now);
        let expected = 1.0 / 0.64_f64.powi(3) + 10.0 * 0.36;
        assert!(is_about(cost(&bad, now), expected));
        assert!(cost(&bad, now + Duration::from_secs(20)) > 2.0);
        record(&bad, Outcome::Success, now);
        assert!(cost(&bad, now) < 5.0, "no longer failing: charged by the factor alone");
    }

    /// The costs of endpoints of which each fails that share of a thousand requests, in turns,
    /// while the strategy looks at all of them all the time: the mean, and by how much they differ.
    fn costs(load: &FailureAware<Outstanding>, failing: &[f64]) -> (Vec<f64>, f64) {
        let (now, mut rng) = (Instant::now(), crate::rng::Rng::seeded(1));
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

    /// Under an overload of all endpoints, each rejects a share. Clients must not all avoid the
    /// endpoint that rejected a request last.
    #[test]
    fn endpoints_that_fail_alike_cost_about_the_same() {
        let load = FailureAware::new(Outstanding);
        costs(&load, &[0.2; 4]);
        let (_, spread) = costs(&load, &[0.2; 4]);
        // 3.5 if the whole rate is charged.
        assert!(spread < 1.5, "{spread}");
    }

    #[test]
    fn an_endpoint_that_fails_is_expensive_among_any_number_of_others() {
        for others in [1, 2, 3, 19] {
            // From 6.8 to 156 with other seeds: the cube of a random rate has a long tail.
            for (share, expected) in [(0.5, 6.0), (1.0, 100.0)] {
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
    fn cancelled_requests_do_not_count() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        record(&stats, Outcome::Cancelled, now);
        assert_eq!(cost(&stats, now), 1.0);
    }

    #[test]
    fn an_overload_is_not_forgiven_before_its_retry_after() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        let retry_after = Some(Duration::from_secs(60));
        record(&stats, Outcome::Overload { retry_after }, now);
        let at = |seconds| cost(&stats, now + Duration::from_secs(seconds));
        assert_eq!(at(0), at(60));
        assert!(at(75) < at(60));

        record(&stats, Outcome::Overload { retry_after: Some(Duration::MAX) }, now);
        assert!(at(330) < at(300), "at most five minutes");
    }
}
