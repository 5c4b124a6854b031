use std::sync::{Arc, atomic::AtomicU64};

use tokio::time::Instant;

use crate::{
    endpoint::EndpointStats,
    load::{Decayed, FailureAware, Gauge, Load, Now, Score},
    outcome::{Meter, Outcome, Sample},
};

/// The mean duration of one endpoint's requests. Also records its failures, which multiply costs.
#[derive(Debug)]
pub(super) struct MeanDuration {
    mean: AtomicU64,
    failures: Option<Arc<dyn Meter>>,
}

/// The share of one more request in the mean.
const SAMPLE_SHARE: f32 = 1.0 / 16.0;
/// The time constant with which the mean decays without new samples, in seconds.
const DECAY_SECS: f64 = 60.0;

/// The factor by which failures multiply the cost of a request.
pub(super) type FailureCost = FailureAware<Flat>;

/// The constant cost that failures multiply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flat;

impl Load for Flat {
    fn score(&self, _: &Gauge<'_>, _: &mut Now) -> Score {
        Score { cost: 1.0, backlog: 0.0 }
    }
}

impl MeanDuration {
    pub(super) fn new(failures: &FailureCost) -> Self {
        Self { mean: AtomicU64::new(0), failures: failures.meter() }
    }

    /// Returns the mean in seconds, decayed since the last sample; 0 before the first.
    pub(super) fn seconds(&self, stats: &EndpointStats, now: Instant) -> f64 {
        let mean = Decayed::load(&self.mean);
        f64::from(mean.value) * remains(mean, stats.age(now))
    }
}

fn remains(mean: Decayed, age: u64) -> f64 {
    (-mean.seconds_since(age) / DECAY_SECS).exp()
}

impl Meter for MeanDuration {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(failures) = &self.failures {
            failures.record(stats, sample);
        }
        let Some(latency) = sample.latency() else { return };
        let (age, seconds) = (sample.age(stats), latency.as_secs_f32().max(f32::MIN_POSITIVE));
        let succeeded = matches!(sample.outcome(), Outcome::Success);
        Decayed::update(&self.mean, |mean| {
            let remains = remains(mean, age) as f32;
            let updated = if succeeded {
                // The part of the mean that has decayed makes room for the new sample.
                let kept = if mean.value > 0.0 { remains.min(1.0 - SAMPLE_SHARE) } else { 0.0 };
                mean.value * kept + seconds * (1.0 - kept)
            } else {
                // A failure may be quick, so it can only raise the mean.
                seconds.max(mean.value * remains)
            };
            Some(Decayed::new(updated, age))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

    #[test]
    fn an_outlier_moves_the_mean_little_and_it_decays_without_samples() {
        let (stats, duration) = (EndpointStats::new(), MeanDuration::new(&FailureCost::default()));
        let start = Instant::now() + 1000 * SECOND;
        let record = |outcome: Outcome, millis: u64, at: Instant| {
            let ended = stats.age(at);
            let started = ended - millis * 1_000_000;
            duration.record(&stats, &Sample::new(&outcome).measured(started, ended));
        };
        let seconds = |at| duration.seconds(&stats, at);
        assert_eq!(seconds(start), 0.0);
        record(Outcome::Success, 100, start);
        record(Outcome::ApplicationError, 1, start);
        assert!((seconds(start) - 0.1).abs() < 1e-6);
        record(Outcome::Success, 900, start);
        assert!((seconds(start) - 0.15).abs() < 1e-3);
        let later = start + 60 * SECOND;
        assert!((seconds(later) / 0.15 - (-1.0_f64).exp()).abs() < 0.01);
        record(Outcome::Success, 150, later);
        assert!((seconds(later) - 0.15).abs() < 1e-3, "the new sample replaces what decayed");
    }
}
