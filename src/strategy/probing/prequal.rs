use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    probe_pool::{Answer, EndpointKey, POOL_SIZE, Pool, endpoint_key},
    probed::ProbedPicker,
};
use crate::{
    ConfigError,
    endpoint::EndpointStats,
    outcome::{LoadReport, Meter, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Explainer, Pick, PickContext, Probed, Probes,
        Strategy,
        explain::{Observe, observed_pick},
        sampling::sampler::Sampler,
    },
};

/// Prequal, as defined in Google's paper: asynchronous probes fill a pool, from which the cold
/// endpoint of the least latency is picked, or else the hot one with the fewest requests in flight.
///
/// For each request three probes are sent, to random endpoints. The pool holds the latest 16
/// answers, each for at most a second. An answer is hot if it reports more requests in flight than
/// the 0.84 quantile (2^-0.25) of the latest 128 answers; otherwise it is cold.
///
/// An answer that is used counts one request more from then on. With each request one answer is
/// removed, alternately the oldest and the worst. While fewer than two are left, a random endpoint
/// is picked. An answer is removed after `max(1, (1 + 1) / ((1 - m / n) * probes - removals))`
/// uses, for a pool of `m` and `n` endpoints, rounded at random. Where the denominator is not above
/// 0, as with few endpoints, that is one use.
///
/// Failures are not charged: as in the paper, an endpoint that fails fast gets many requests.
/// [`Freshest`](crate::strategy::Freshest) charges failures, and does better in the simulations of
/// `docs/tail-latency.md`. [`AwaitProbes`](crate::strategy::AwaitProbes) with a
/// [`max_age`](crate::strategy::AwaitProbesLayer::max_age) of zero comes close to the paper's
/// synchronous mode for requests that do not overlap. Those that do wait for the same answers,
/// which the first of them use up.
///
/// **Weights** have little effect: endpoints are probed with equal probability, and picked from the
/// pool as if all weights were equal, so that a light one gets more than its share. Only while the
/// pool has fewer than two answers is an endpoint drawn by weight. Where weights differ, use
/// [`Probed`] over [`Freshest`](crate::strategy::Freshest).
///
/// The pool has a lock for which no request waits: if it is taken, the request goes to a random
/// endpoint, and a report is dropped. Reports that come with responses enter the pool as answers
/// do.
///
/// Source: Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI
/// 2024). Where this differs: there are no probes while there are no requests, and random endpoints
/// are drawn by weight.
pub struct Prequal<F> {
    probed: Probed<HotCold, F>,
}

impl<F> Prequal<F> {
    /// Uses the paper's parameters. `probe` asks an endpoint for its requests in flight, and its
    /// latency at such a load.
    pub fn new<Fut, E>(probe: F) -> Self
    where
        F: Fn(&Candidate) -> Fut,
        Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
    {
        let rule = Rule { probes: 3.0, removals: 1.0, quantile: 0.5_f64.powf(0.25) };
        let inner = HotCold { pool: Arc::default(), rule };
        Self { probed: Probed::with_rate(probe, inner, rule.probes) }
    }

    /// Sets how many probes are sent for each request, on average. Default 3.
    ///
    /// # Errors
    ///
    /// If `probes` is not above 0 and at most 16.
    pub fn per_request(mut self, probes: f64) -> Result<Self, ConfigError> {
        self.probed = self.probed.per_request(probes)?;
        self.probed.inner_mut().rule.probes = probes;
        Ok(self)
    }

    /// Sets the quantile of requests in flight above which an endpoint is hot. Default 0.84.
    ///
    /// With 0, endpoints are compared by requests in flight only; with 1, by latency only.
    ///
    /// # Errors
    ///
    /// If `quantile` is not from 0 to 1.
    pub fn quantile(mut self, quantile: f64) -> Result<Self, ConfigError> {
        ConfigError::unless_within("quantile", quantile, [0.0, 1.0])?;
        self.probed.inner_mut().rule.quantile = quantile;
        Ok(self)
    }

    /// Limits how long a probe may take. Default 1 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.probed = self.probed.timeout(timeout);
        self
    }

    /// Returns what lets requests wait for the probes.
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
    /// The clone starts with an empty pool.
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
#[expect(unnameable_types, reason = "named as <Prequal<F> as Strategy>::Picker")]
pub struct PrequalPicker(ProbedPicker<HotColdPicker>);

impl<Req> Pick<Req> for PrequalPicker {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        self.0.pick(request, context)
    }

    fn explain(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&Candidate> {
        explainer.pass();
        self.0.explain(request, context, explainer)
    }
}

/// The paper's parameters.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Probes for each request.
    probes: f64,
    /// Answers that are removed from the pool for each request.
    removals: f64,
    /// The quantile of requests in flight above which an answer is hot.
    quantile: f64,
}

impl Rule {
    /// Returns how many times an answer is used, on average.
    fn uses(&self, endpoints: usize) -> f64 {
        let kept = 1.0 - POOL_SIZE as f64 / endpoints.max(1) as f64;
        let left = kept * self.probes - self.removals;
        if left > 0.0 { ((1.0 + DELTA) / left).max(1.0) } else { 1.0 }
    }
}

/// The paper's δ, which governs the net rate at which answers accumulate in the pool.
const DELTA: f64 = 1.0;

/// The strategy that picks from the pool, without the probes.
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
        let keys = candidates.iter().map(|candidate| endpoint_key(candidate.stats()));
        let picker = HotColdPicker {
            index_by_key: keys.zip(0..).collect(),
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            uses: self.rule.uses(candidates.len()),
            removals: self.rule.removals,
            pool: Arc::clone(&self.pool),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(PoolMeter { pool: Arc::clone(&self.pool), quantile: self.rule.quantile }))
    }
}

/// A meter that adds reports to the pool.
#[derive(Debug)]
struct PoolMeter {
    pool: Arc<Mutex<Pool>>,
    quantile: f64,
}

impl Meter for PoolMeter {
    fn record(&self, _stats: &EndpointStats, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn is_stateless(&self) -> bool {
        true
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        let Some(in_flight) = report.requests_in_flight() else { return };
        let latency_secs = report.latency().unwrap_or_default().as_secs_f64();
        let answer =
            Answer { endpoint: endpoint_key(stats), in_flight, latency_secs, at: now, used: 0 };
        // Responses report too and must not wait. Of two simultaneous reports, one is enough.
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
    index_by_key: HashMap<EndpointKey, usize>,
    sampler: Sampler,
    pool: Arc<Mutex<Pool>>,
    uses: f64,
    removals: f64,
}

impl HotColdPicker {
    /// Picks from the pool, unless it is locked or nearly empty.
    fn pick_from_pool(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        let mut pool = self.pool.try_lock().ok()?;
        if observer.is_dry_run() {
            // A dry run uses up a copy.
            let mut copy = pool.clone();
            drop(pool);
            return self.pick_from(&mut copy, context, observer);
        }
        self.pick_from(&mut pool, context, observer)
    }

    fn pick_from(
        &self,
        pool: &mut Pool,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        pool.expire(context.now());
        let candidate =
            |answer: &Answer| self.candidates.get(*self.index_by_key.get(&answer.endpoint)?);
        let picked = if pool.answers.len() < 2 {
            None
        } else {
            observer
                .say(|| "the quickest cold answer in the pool, or the least loaded hot".to_owned());
            for answer in &pool.answers {
                let Some(one) = candidate(answer).filter(|one| context.accepts(one)) else {
                    continue;
                };
                observer.compare(one, || pool.rank(answer).1);
                observer.note(one, || {
                    if pool.rank(answer).0 { "hot, in flight" } else { "cold, latency in s" }
                        .to_owned()
                });
            }
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

impl HotColdPicker {
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("prequal");
        if let Some(found) = self.pick_from_pool(context, observer) {
            return Some(found);
        }
        observer.say(|| "the pool has no answer to use, a random one is drawn".to_owned());
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        if context.accepts(drawn) { Some(drawn) } else { self.candidates.fallback(context) }
    }
}

impl<Req> Pick<Req> for HotColdPicker {
    observed_pick!(without Req);
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
