use std::{sync::Arc, time::Duration};

use super::{
    Gauge, Load, Now, Score,
    decayed::{Decayed, exp_neg},
};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Sample},
};

/// Latency, as a peak-sensitive moving average, times the requests in flight plus one.
///
/// A latency above the estimate raises it at once, one below draws it down with the time constant
/// `decay`; it also decays while nothing is measured, so that a slow endpoint is tried again. Latency
/// is taken from the pick to the first byte of the response.
///
/// **Cold start.** An endpoint that has not been measured costs nothing while it is idle and more
/// than any other as soon as a request is in flight: it gets exactly one request until that has been
/// answered. Until 16 requests have succeeded, it costs more than any other while more requests are in
/// flight than have succeeded. One short request says little of an endpoint: without this limit, a
/// client sends all of its requests to the endpoint that answered the shortest one.
///
/// Source: Finagle's `PeakEwma`. Where we differ: a failed attempt can only raise the estimate (in
/// Finagle a fast failure lowers it), and so can one cancelled before the response began, which would
/// have taken longer. That an endpoint fails is charged by [`FailureAware`](super::FailureAware).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeakEwma {
    /// Per second: the inverse of the time constant.
    rate: f64,
}

/// Cost of one more request to an endpoint that is busy and yet unmeasured: far above any latency
/// (in seconds), far below overflow when multiplied.
const UNMEASURED: f64 = 1e9;

/// Successes after which a latency estimate is relied on, whatever is in flight.
const WARM_AFTER: u64 = 16;

impl PeakEwma {
    /// A time constant of 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self { rate: 0.1 }
    }

    /// Sets the time constant: after so long without a new measurement, 37 % of the estimate are
    /// left. Default 10 s. Zero forgets at once.
    #[must_use]
    pub const fn with_decay(mut self, decay: Duration) -> Self {
        self.rate = 1.0 / decay.as_secs_f64();
        self
    }

    /// The estimate that was last measured for an endpoint, not decayed; `None` if there is none.
    #[must_use]
    pub fn last_estimate(stats: &EndpointStats) -> Option<Duration> {
        let value = Decayed::load(stats.latency_cell()).value;
        (value > 0.0).then(|| Duration::try_from_secs_f32(value).unwrap_or(Duration::MAX))
    }

    /// The share of an estimate that is left after `seconds`.
    #[inline]
    fn remains(&self, seconds: f64) -> f64 {
        let decays = seconds * self.rate;
        match decays {
            // At a busy endpoint: e^-x is 1 - x + x^2/2 here, as exactly as below.
            0.0..0.1 => 1.0 - decays * (1.0 - 0.5 * decays),
            _ if seconds == 0.0 => 1.0,
            _ => exp_neg(decays),
        }
    }
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
        let is_warm = successes >= WARM_AFTER || u64::from(outstanding) <= successes;
        let cost = match (estimate.value > 0.0 && is_warm, outstanding) {
            (true, _) => {
                let seconds = estimate.seconds_since(stats.age_at(now.moment()));
                f64::from(estimate.value) * self.remains(seconds)
            }
            (false, 0) => 0.0,
            (false, _) => UNMEASURED,
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
        let Some(latency) = sample.latency() else {
            return;
        };
        let age = sample.age(stats);
        // A latency of 0 (paused clocks) must still count as measured.
        let latency = latency.as_secs_f32().max(f32::MIN_POSITIVE);
        let may_lower = sample.has_response() && !sample.outcome().is_failure();
        Decayed::update(stats.latency_cell(), |estimate| {
            let kept = self.remains(estimate.seconds_since(age)) as f32;
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
    /// Long before anything here, the vitals began.
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
    fn an_unmeasured_endpoint_is_free_while_idle_and_shunned_while_busy() {
        let (stats, now) = (EndpointStats::new(), Instant::now());
        assert_eq!(cost(&stats, now), 0.0);
        stats.begin();
        assert_eq!(cost(&stats, now), UNMEASURED);
        observe(&stats, Outcome::Success, Duration::ZERO, now);
        stats.end(&Outcome::Success);
        stats.begin();
        assert!(cost(&stats, now) < 1e-30, "measured, if as 0");
        stats.begin();
        assert_eq!(cost(&stats, now), UNMEASURED, "more are in flight than have succeeded");
        (0..WARM_AFTER).for_each(|_| {
            stats.begin();
            stats.end(&Outcome::Success);
        });
        assert!(cost(&stats, now) < 1e-30, "it is known now");
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
    fn a_peak_is_one_above_what_is_left_of_the_estimate() {
        let (stats, start) = (EndpointStats::new(), Instant::now());
        observe(&stats, Outcome::TransportFailure, 11 * MS, start);
        let later = start + Duration::from_secs(100);
        observe(&stats, Outcome::TransportFailure, 10 * MS, later);
        assert_close(cost(&stats, later), 0.010);
    }

    #[test]
    fn clocks_that_step_back_do_no_harm() {
        let (stats, start) = (EndpointStats::new(), Instant::now() + Duration::from_secs(100));
        observe(&stats, Outcome::Success, 10 * MS, start);
        observe(&stats, Outcome::Success, 5 * MS, start - Duration::from_secs(50));
        assert_close(cost(&stats, start - Duration::from_secs(99)), 0.010);
        let forgetful = PeakEwma::new().with_decay(Duration::ZERO);
        let score = forgetful.score(&Gauge::new(&stats), &mut Now::at(start + 2 * HOUR));
        assert_eq!(score.sanitized().cost, 0.0);
    }
}
