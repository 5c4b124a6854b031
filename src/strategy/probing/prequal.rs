use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    probe_pool::{Answer, Id, POOL, Pool, id},
    probed::ProbedPicker,
};
use crate::{
    endpoint::EndpointStats,
    outcome::{LoadReport, Meter, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, InvalidParameter, Pick, PickContext, Probed,
        Probes, Strategy, parameter::share, sampling::sampler::Sampler,
    },
};

/// Prequal, as Google's paper defines it: asynchronous probes fill a pool, and of the pool the cold
/// endpoint of the least latency is taken, or else the hot one with the fewest requests in flight.
///
/// For each request three probes are sent, to endpoints at random. The pool holds the latest 16
/// answers for a second at most. An answer is hot if it has more requests in flight than the 0.84
/// quantile (2^-0.25) of the latest 128. One that is used counts one request more from then on, and
/// is used a number of times that follows from the rates; with each request one answer is removed,
/// in turn the oldest and the worst. While fewer than two are left, a random endpoint is taken. How
/// many times an answer is used is `max(1, (1 + 1) / ((1 - m / n) * probes - removals))` for a pool
/// of `m` and `n` endpoints, rounded at random; where the denominator is not above 0, as with few
/// endpoints, that is once.
///
/// Failures are not charged: like the paper's, it sends much to an endpoint that fails fast.
/// [`Freshest`](crate::strategy::Freshest) does better in the simulations of `docs/tail-latency.md`, and
/// charges failures. [`AwaitProbes`](crate::strategy::AwaitProbes) with a
/// [`max_age`](crate::strategy::AwaitProbesLayer::max_age) of zero comes close to the paper's synchronous mode
/// for requests that don't overlap; those that do wait for the same answers, which the first of them use up.
///
/// **Weights** hardly count: endpoints are probed with the same chance, and chosen from the pool as if all
/// weights were equal, so that a light one gets more than its share. Only while the pool has fewer than two
/// answers is an endpoint drawn by weight. Where weights differ, use [`Probed`] over
/// [`Freshest`](crate::strategy::Freshest).
///
/// The pool has a lock that nobody waits for: a request that finds it taken goes to a random
/// endpoint, a report is left out. Reports that come with responses enter the pool as answers do.
///
/// Source: Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI
/// 2024). Where we differ: there are no probes while there are no requests, and weights count for
/// random endpoints.
pub struct Prequal<F> {
    probed: Probed<HotCold, F>,
}

impl<F> Prequal<F> {
    /// The paper's parameters. `probe` asks an endpoint for its requests in flight and its latency
    /// at such a load.
    pub fn new<Fut, E>(probe: F) -> Self
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let rule = Rule { probes: 3.0, removals: 1.0, quantile: 0.5_f64.powf(0.25) };
        let pool = Arc::new(Mutex::new(Pool::default()));
        let mut probed = Probed::new(probe, HotCold { pool, rule });
        probed.set_rate(3.0);
        Self { probed }
    }

    /// Probes for each request. Default 3.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] as [`Probed::per_request`].
    pub fn per_request(mut self, probes: f64) -> Result<Self, InvalidParameter> {
        self.probed = self.probed.per_request(probes)?;
        self.probed.inner_mut().rule.probes = probes;
        Ok(self)
    }

    /// The quantile of requests in flight above which an endpoint is hot: 0 goes by requests in
    /// flight alone, 1 by latency alone. Default 0.84.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is not from 0 to 1.
    pub fn quantile(mut self, quantile: f64) -> Result<Self, InvalidParameter> {
        self.probed.inner_mut().rule.quantile = share("quantile", quantile)?;
        Ok(self)
    }

    /// How long a probe may take. Default 1 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.probed = self.probed.timeout(timeout);
        self
    }

    /// For who wants to wait for probes.
    #[must_use]
    pub fn probes(&self) -> Probes {
        self.probed.probes()
    }

    /// Fixes the order of probes, for tests and simulations.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.probed = self.probed.seed(seed);
        self
    }
}

impl<F: Clone> Clone for Prequal<F> {
    /// Begins with an empty pool.
    fn clone(&self) -> Self {
        Self { probed: self.probed.clone() }
    }
}

impl<F, Fut, E> Strategy for Prequal<F>
where
    F: Fn(&Candidate) -> Fut + Send + 'static,
    Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
{
    type Picker = PrequalPicker;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<PrequalPicker> {
        self.probed.build(candidates, context).map(PrequalPicker)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.probed.meter()
    }
}

impl<F> fmt::Debug for Prequal<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prequal").field("probed", &self.probed).finish()
    }
}

/// The picker of [`Prequal`].
#[derive(Debug)]
pub struct PrequalPicker(ProbedPicker<HotColdPicker>);

impl<Req> Pick<Req> for PrequalPicker {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.pick(request, context)
    }
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    probes: f64,
    removals: f64,
    quantile: f64,
}

impl Rule {
    /// How often an answer is used, on average.
    fn uses(&self, endpoints: usize) -> f64 {
        let kept = 1.0 - POOL as f64 / endpoints.max(1) as f64;
        let left = kept * self.probes - self.removals;
        if left > 0.0 { ((1.0 + DELTA) / left).max(1.0) } else { 1.0 }
    }
}

const DELTA: f64 = 1.0;

/// The rule that chooses from the pool, without the probes.
#[derive(Debug)]
struct HotCold {
    pool: Arc<Mutex<Pool>>,
    rule: Rule,
}

impl Clone for HotCold {
    fn clone(&self) -> Self {
        Self { pool: Arc::default(), rule: self.rule }
    }
}

impl Strategy for HotCold {
    type Picker = HotColdPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<HotColdPicker> {
        let ids = candidates.iter().map(|candidate| id(candidate.stats()));
        let picker = HotColdPicker {
            by_id: ids.zip(0..).collect(),
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            uses: self.rule.uses(candidates.len()),
            removals: self.rule.removals,
            pool: Arc::clone(&self.pool),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(IntoPool { pool: Arc::clone(&self.pool), quantile: self.rule.quantile }))
    }
}

/// Puts reports into the pool.
#[derive(Debug)]
struct IntoPool {
    pool: Arc<Mutex<Pool>>,
    quantile: f64,
}

impl Meter for IntoPool {
    fn record(&self, _vitals: &EndpointStats, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn is_stateless(&self) -> bool {
        true
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        let Some(in_flight) = report.requests_in_flight() else { return };
        let latency = report.latency().unwrap_or_default().as_secs_f64();
        let answer = Answer { endpoint: id(stats), in_flight, latency, at: now, used: 0 };
        // Responses report too, and don't wait: of two reports at the same time one will do.
        if let Ok(mut pool) = self.pool.try_lock() {
            pool.add(answer, self.quantile);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct HotColdPicker {
    candidates: Candidates,
    by_id: HashMap<Id, usize>,
    sampler: Sampler,
    pool: Arc<Mutex<Pool>>,
    uses: f64,
    removals: f64,
}

impl HotColdPicker {
    fn of_pool(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let mut pool = self.pool.try_lock().ok()?;
        pool.expire(context.now());
        let candidate = |answer: &Answer| self.candidates.get(*self.by_id.get(&answer.endpoint)?);
        let picked = if pool.answers.len() < 2 {
            None
        } else {
            let accepts =
                |answer: &Answer| candidate(answer).is_some_and(|one| context.accepts(one));
            pool.best(accepts)
        };
        let found = picked.and_then(|index| candidate(&pool.answers[index]));
        if let Some(index) = picked {
            pool.use_up(index, self.uses, context.rng());
        }
        pool.remove(self.removals);
        found
    }
}

impl<Req> Pick<Req> for HotColdPicker {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        if let Some(found) = self.of_pool(context) {
            return Some(found);
        }
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        if context.accepts(drawn) { Some(drawn) } else { self.candidates.fallback(context) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reuse_budget_is_that_of_the_paper() {
        let rule = Rule { probes: 3.0, removals: 1.0, quantile: 0.84 };
        assert!((rule.uses(100) - 2.0 / 1.52).abs() < 1e-9);
        assert_eq!(rule.uses(20), 1.0);
    }
}
