use std::{fmt, sync::Arc};

use super::{
    mean_duration::{FailureCost, MeanDuration},
    price::MAX_AMOUNT,
};
use crate::{
    ConfigError,
    lambda::Price,
    load::Load,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
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

impl<Req> Pick<Req> for CostAwarePicker {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let start = context.rng().below(self.candidates.len());
        let mut cheapest: Option<(&Candidate, f64)> = None;
        for index in (start..self.candidates.len()).chain(0..start) {
            let (candidate, &prices) = self.candidates.get(index).zip(self.prices.get(index))?;
            if !context.accepts(candidate) {
                continue;
            }
            let cost = self.cost(candidate, prices, context);
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
