use std::{sync::Arc, time::Duration};

use super::{
    Gauge, Load, Now, Score,
    decayed::{Decayed, exp_neg},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Sample},
};

/// Estimates latency by a peak-sensitive moving average, times the requests in flight plus one.
///
/// A new latency `l`, measured a time `t` after the estimate `e`, gives the estimate
///
/// ```text
/// l                     if l >= e * k      (a peak counts at once)
/// e * k + l * (1 - k)   otherwise
///
/// k = exp(-t / decay)
/// ```
///
/// The cost is `e * k`: the estimate also decays while nothing is measured, so that a slow endpoint
/// is tried again. Latency is measured from the pick to the first byte of the response.
///
/// **Cold start.** An endpoint without an estimate costs nothing while it is idle, and more than
/// any other while a request is in flight: it gets exactly one request until that has finished.
/// Until 16 requests have succeeded, it also costs more than any other while more requests are in
/// flight than have succeeded. A single short request says little about an endpoint: without this
/// limit, a client sends all of its requests to the endpoint that served the shortest one.
///
/// Source: Finagle's `PeakEwma`. Where this differs: a failed attempt can only raise the estimate
/// (in Finagle, a fast failure lowers it). The same holds for an attempt that was cancelled before
/// the response began, which would have taken longer. [`FailureAware`](super::FailureAware) charges
/// failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakEwma {
    /// The inverse of the time constant, per second.
    rate: f64,
}

/// The cost of one more request to an endpoint that is busy and has no estimate. It is far above
/// any latency in seconds, and does not overflow when multiplied.
const UNMEASURED_COST: f64 = 1e9;

/// The number of successes from which an estimate is used, whatever is in flight.
const WARM_SUCCESSES: u64 = 16;

impl PeakEwma {
    /// Creates a load with a time constant of 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self { rate: 0.1 }
    }

    /// Sets the time constant, after which 37 % of an estimate are left. Default 10 s. With 0, an
    /// estimate is forgotten at once.
    #[must_use]
    pub const fn with_decay(mut self, decay: Duration) -> Self {
        self.rate = 1.0 / decay.as_secs_f64();
        self
    }

    /// Returns the last estimate for an endpoint, without decay, or `None` before the first
    /// measurement.
    #[must_use]
    pub fn last_estimate(stats: &EndpointStats) -> Option<Duration> {
        let value = Decayed::load(stats.latency_cell()).value;
        (value > 0.0).then(|| Duration::try_from_secs_f32(value).unwrap_or(Duration::MAX))
    }

    /// Returns the share of an estimate that is left after `seconds`.
    #[inline]
    fn share_left(&self, seconds: f64) -> f64 {
        let decays = seconds * self.rate;
        if decays < 0.1 {
            // The case of a busy endpoint. Here 1 - x + x^2/2 is as exact as `exp_neg`, and
            // cheaper.
            1.0 - decays * (1.0 - 0.5 * decays)
        } else if seconds == 0.0 {
            // A rate of infinity makes `decays` NaN.
            1.0
        } else {
            exponential(decays)
        }
    }
}

// Not inlined: its constants would be loaded for the common case too.
#[inline(never)]
fn exponential(decays: f64) -> f64 {
    exp_neg(decays)
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl Load for PeakEwma {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let stats = gauge.stats();
        let outstanding = stats.outstanding();
        let estimate = Decayed::load(stats.latency_cell());
        let successes = stats.successes();
        let is_warm = successes >= WARM_SUCCESSES || u64::from(outstanding) <= successes;
        let cost = match (estimate.value > 0.0 && is_warm, outstanding) {
            (true, _) => {
                let seconds = estimate.seconds_since(stats.age_at(now.moment()));
                f64::from(estimate.value) * self.share_left(seconds)
            }
            (false, 0) => 0.0,
            (false, _) => UNMEASURED_COST,
        };
        Score { cost, backlog: f64::from(outstanding) }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(*self))
    }
}

impl Meter for PeakEwma {
    fn is_stateless(&self) -> bool {
        true
    }

    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let Some(nanos) = sample.latency_nanos() else { return };
        let age = sample.age(stats);
        // 0 means "not measured", so a latency of 0 (with a paused clock) is raised a little.
        let latency = (nanos as f32 * 1e-9).max(f32::MIN_POSITIVE);
        let may_lower = sample.has_response() && !sample.outcome().is_failure();
        Decayed::update(stats.latency_cell(), |estimate| {
            let kept = self.share_left(estimate.seconds_since(age)) as f32;
            let current = estimate.value * kept;
            if latency >= current {
                Some(Decayed::new(latency, age))
            } else if may_lower {
                Some(Decayed::new(current + latency * (1.0 - kept), age))
            } else {
                None
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::outcome::Outcome;

    const MS: Duration = Duration::from_millis(1);
    /// The age of the statistics when a test begins.
    const HOUR: Duration = Duration::from_secs(3600);

    fn observe(stats: &EndpointStats, outcome: Outcome, latency: Duration, now: Instant) {
        let ended = stats.age(now + HOUR);
        let started = ended - latency.as_nanos() as u64;
        PeakEwma::new().record(stats, &Sample::new(&outcome).measured(started, ended));
    }

    fn cost(stats: &EndpointStats, now: Instant) -> f64 {
        PeakEwma::new().score(&Gauge::new(stats), &mut Now::at(now + HOUR)).cost
    }

    fn assert_close(actual: f64, expected: f64) {
        assert!((actual / expected - 1.0).abs() < 1e-3, "{actual} is not {expected}");
    }

    #[test]
    fn a_peak_counts_at_once_and_decays_with_the_time_constant() {
        let (stats, start) = (EndpointStats::new(), Instant::now());
        observe(&stats, Outcome::Success, 10 * MS, start);
        assert_close(cost(&stats, start), 0.010);
        observe(&stats, Outcome::Success, 500 * MS, start);
        assert_close(cost(&stats, start), 0.500);

        let later = start + Duration::from_secs(10);
        let left = (-1.0_f64).exp();
        assert_close(cost(&stats, later), 0.500 * left);
        observe(&stats, Outcome::Success, 10 * MS, later);
        assert_close(cost(&stats, later), 0.500 * left + 0.010 * (1.0 - left));
    }

    #[test]
    fn an_unmeasured_endpoint_is_free_while_idle_and_avoided_while_busy() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        assert_eq!(cost(&stats, now), 0.0);
        stats.begin();
        assert_eq!(cost(&stats, now), UNMEASURED_COST);
        observe(&stats, Outcome::Success, Duration::ZERO, now);
        stats.end(&Outcome::Success);
        stats.begin();
        assert!(cost(&stats, now) < 1e-30, "a latency of 0 was measured");
        stats.begin();
        assert_eq!(cost(&stats, now), UNMEASURED_COST, "more are in flight than have succeeded");
        (0..WARM_SUCCESSES).for_each(|_| {
            stats.begin();
            stats.end(&Outcome::Success);
        });
        assert!(cost(&stats, now) < 1e-30, "the endpoint is warm");
    }

    #[test]
    fn failures_and_cancellations_can_only_raise_the_estimate() {
        let (stats, start) = (EndpointStats::new(), Instant::now());
        observe(&stats, Outcome::Success, 50 * MS, start);
        for outcome in [Outcome::TransportFailure, Outcome::Cancelled] {
            observe(&stats, outcome, MS, start + Duration::from_secs(1));
            assert_close(cost(&stats, start), 0.050);
        }
        observe(&stats, Outcome::Timeout, 900 * MS, start + Duration::from_secs(1));
        assert_close(cost(&stats, start), 0.900);
    }

    #[test]
    fn a_peak_is_a_latency_above_the_decayed_estimate() {
        let (stats, start) = (EndpointStats::new(), Instant::now());
        observe(&stats, Outcome::TransportFailure, 11 * MS, start);
        let later = start + Duration::from_secs(100);
        observe(&stats, Outcome::TransportFailure, 10 * MS, later);
        assert_close(cost(&stats, later), 0.010);
    }

    #[test]
    fn a_clock_that_steps_back_gives_a_valid_estimate() {
        let (stats, start) = (EndpointStats::new(), Instant::now() + Duration::from_secs(100));
        observe(&stats, Outcome::Success, 10 * MS, start);
        observe(&stats, Outcome::Success, 5 * MS, start - Duration::from_secs(50));
        assert_close(cost(&stats, start - Duration::from_secs(99)), 0.010);
        let forgetful = PeakEwma::new().with_decay(Duration::ZERO);
        let score = forgetful.score(&Gauge::new(&stats), &mut Now::at(start + 2 * HOUR));
        assert_eq!(score.sanitized().cost, 0.0);
    }
}
