use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
};

use tokio::time::Instant;

use crate::{
    ConfigError,
    endpoint::EndpointStats,
    load::{Decayed, FailureAware, Gauge, Load, Now, Score},
    outcome::{Meter, Outcome, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Observe, observed_pick},
    },
};

/// Sends each request to the endpoint where it is expected to cost least.
///
/// The caller provides the [`Price`] of each endpoint; this crate contains no price list. A request
/// is expected to take the mean duration of the endpoint's recent requests. Failures multiply its
/// cost, as in [`FailureAware`](crate::load::FailureAware). The mean decays without new
/// measurements, with a time constant of a minute. An endpoint that was expensive, or was measured
/// in a cold start, is therefore tried again.
///
/// A slow and cheap endpoint wins over a fast and expensive one. [`waiting`](Self::waiting) adds a
/// price for the caller's time.
///
/// ```
/// use tower_lb::lambda::{CostAware, Price};
///
/// // Endpoints whose names begin with "arm" have a lower price per second.
/// let strategy = CostAware::new(|candidate| {
///     let gb_second = if candidate.name().starts_with("arm") { 0.8 } else { 1.0 };
///     Price::new().per_request(0.01).per_gb_second(gb_second).memory_mb(512)
/// });
/// ```
///
/// Ignores weights, except for 0. Examines all endpoints for each pick.
#[derive(Clone)]
pub struct CostAware<F> {
    price: F,
    waiting: f64,
    failures: Arc<FailureCost>,
}

impl<F> CostAware<F>
where
    F: Fn(&Candidate) -> Price,
{
    /// Prices each endpoint by `price`, which is called when the endpoints change.
    pub fn new(price: F) -> Self {
        Self { price, waiting: 0.0, failures: Arc::default() }
    }

    /// Sets the price of a second of the caller's time, in the currency of the prices. Default 0.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `per_second` is from 0 to 1e100.
    pub fn waiting(mut self, per_second: f64) -> Result<Self, ConfigError> {
        ConfigError::unless_within("waiting", per_second, [0.0, MAX_AMOUNT])?;
        self.waiting = per_second;
        Ok(self)
    }
}

impl<F> Strategy for CostAware<F>
where
    F: Fn(&Candidate) -> Price,
{
    type Picker = CostAwarePicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<CostAwarePicker> {
        let price = |candidate| {
            let price = (self.price)(candidate);
            [price.request(), price.second() + self.waiting]
        };
        let picker = CostAwarePicker {
            prices: candidates.iter().map(price).collect(),
            candidates: candidates.clone(),
            failures: Arc::clone(&self.failures),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(MeanDuration::new(&self.failures)))
    }
}

impl<F> fmt::Debug for CostAware<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CostAware").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// The picker of [`CostAware`].
#[expect(unnameable_types, reason = "named as <CostAware as Strategy>::Picker")]
#[derive(Debug)]
pub struct CostAwarePicker {
    candidates: Candidates,
    /// The prices of a request and of a second, for each candidate.
    prices: Box<[[f64; 2]]>,
    failures: Arc<FailureCost>,
}

impl CostAwarePicker {
    fn cost(
        &self,
        candidate: &Candidate,
        [request, second]: [f64; 2],
        context: &mut PickContext<'_>,
    ) -> f64 {
        let (stats, now) = (candidate.stats(), context.now());
        let duration = candidate.meter::<MeanDuration>();
        let seconds = duration.map_or(0.0, |duration| duration.seconds(stats, now));
        // If everything is free, the fastest endpoint wins.
        let cost = (request + second * seconds).max(f64::MIN_POSITIVE * seconds);
        cost * self.failures.score(&candidate.gauge(0), context.clock()).cost
    }
}

impl CostAwarePicker {
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("cost aware");
        observer.say(|| "the lowest expected cost wins".to_owned());
        let start = context.rng().below(self.candidates.len());
        let mut cheapest: Option<(&Candidate, f64)> = None;
        for index in (start..self.candidates.len()).chain(0..start) {
            let (candidate, &prices) = self.candidates.get(index).zip(self.prices.get(index))?;
            if !context.accepts(candidate) {
                continue;
            }
            let cost = self.cost(candidate, prices, context);
            observer.compare(candidate, || cost);
            if cheapest.is_none_or(|(_, least)| cost < least) {
                cheapest = Some((candidate, cost));
            }
        }
        match cheapest {
            Some((candidate, _)) => Some(candidate),
            None => self.candidates.fallback(context),
        }
    }
}

impl<Req> Pick<Req> for CostAwarePicker {
    observed_pick!(without Req);
}

/// The price of a function, in any currency.
///
/// A negative amount, or one that is not a number, counts as 0. Amounts above 1e100 count as 1e100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct Price {
    per_request: f64,
    per_gb_second: f64,
    memory_gb: f64,
}

impl Price {
    /// Creates a price of 0.
    pub const fn new() -> Self {
        Self { per_request: 0.0, per_gb_second: 0.0, memory_gb: 0.0 }
    }

    /// Sets the price of a request regardless of its duration: of the invocation, and of traffic to
    /// another region. Default 0.
    pub fn per_request(mut self, price: f64) -> Self {
        self.per_request = amount(price);
        self
    }

    /// Sets the price of a gigabyte of memory for a second. Default 0.
    pub fn per_gb_second(mut self, price: f64) -> Self {
        self.per_gb_second = amount(price);
        self
    }

    /// Sets the function's memory in MB, of 2^20 bytes each as Lambda counts. Default 0.
    pub fn memory_mb(mut self, memory: u32) -> Self {
        self.memory_gb = f64::from(memory) / 1024.0;
        self
    }

    pub(super) fn request(self) -> f64 {
        self.per_request
    }

    /// Returns the price of a second.
    pub(super) fn second(self) -> f64 {
        self.per_gb_second * self.memory_gb
    }
}

/// The highest amount: infinity times 0 is not a number, which can't be compared.
pub(super) const MAX_AMOUNT: f64 = 1e100;

fn amount(amount: f64) -> f64 {
    if amount > 0.0 { amount.min(MAX_AMOUNT) } else { 0.0 }
}

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
