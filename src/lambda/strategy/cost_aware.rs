use std::{fmt, sync::Arc};

use super::{
    mean_duration::{FailureCost, MeanDuration},
    price::amount,
};
use crate::{
    lambda::Price,
    load::Load,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Sends each request where it is expected to cost least.
///
/// The caller gives the [`Price`] of each endpoint; nothing of any price list is in here. A request
/// is expected to take as long as the endpoint's recent ones on average, and failures multiply its
/// cost, as [`FailureAware`](crate::load::FailureAware) has it. The average fades while nothing is
/// measured, with a time constant of a minute: so an endpoint that was dear is tried again, and one that was measured in a cold start too.
///
/// By itself it takes a slow and cheap endpoint over a fast one. [`waiting`](Self::waiting) puts a
/// price on the caller's time too.
///
/// ```
/// use tower_lb::lambda::{CostAware, Price};
///
/// // Those whose names begin with "arm" are cheaper by the second.
/// let strategy = CostAware::new(|candidate| {
///     let gb_second = if candidate.name().starts_with("arm") { 0.8 } else { 1.0 };
///     Price::new().per_request(0.01).per_gb_second(gb_second).memory_mb(512)
/// });
/// ```
///
/// Weights do not matter, but for 0. Looks at all endpoints for each pick.
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
    /// Prices by a function, which is asked at each change of the endpoints.
    pub fn new(price: F) -> Self {
        Self { price, waiting: 0.0, failures: Arc::default() }
    }

    /// What a second of waiting is worth to the caller, in the currency of the prices. Default 0;
    /// what is negative or no number counts as that, and what is more than 1e100 as 1e100.
    #[must_use]
    pub fn waiting(mut self, per_second: f64) -> Self {
        self.waiting = amount(per_second);
        self
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
#[derive(Debug)]
pub struct CostAwarePicker {
    candidates: Candidates,
    /// Of a request, and of a second.
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
        // Without a price, the quicker is the cheaper.
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
