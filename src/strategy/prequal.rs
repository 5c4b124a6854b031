use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Candidate, Candidates, InvalidParameter, Pick, PickContext, Probed, Rng, Strategy,
    choice::Sampler, parameter::share, probed::ProbedPicker,
};
use crate::{
    endpoint::Vitals,
    outcome::{LoadReport, Meter, Sample},
};

/// Prequal, as Google's paper defines it: asynchronous probes fill a pool, and of the pool the cold
/// endpoint of the least latency is taken, or else the hot one with the fewest requests in flight.
///
/// For each request three probes are sent, to endpoints at random. The pool holds the latest 16 answers for a second at most.
/// An answer is hot if it has more requests in flight than the 0.84 quantile (2^-0.25) of the latest 128.
/// One that is used counts one request more from then on, and is used a number of times that follows from
/// the rates; with each request one answer is removed, in turn the oldest and the worst. While fewer than two
/// are left, a random endpoint is taken. How many times an answer is used is
/// `max(1, (1 + 1) / ((1 - m / n) * probes - removals))` for a pool of `m` and `n` endpoints, rounded at random; where the
/// denominator is not above 0, as with few endpoints, that is once.
///
/// Failures are not charged: like the paper's, it sends much to an endpoint that fails fast.
/// [`Freshest`](super::Freshest) does better in the simulations of `docs/tail-latency.md`, and charges failures.
///
/// The pool has a lock that no request waits for: one that finds it taken goes to a random
/// endpoint. Reports that come with responses enter the pool as answers do.
///
/// Source: Wydrowski et al., "Load is not what you should balance: Introducing Prequal" (NSDI 2024). Where we differ:
/// weights count for random endpoints only; there are no probes while there are no requests.
pub struct Prequal<F> {
    probed: Probed<HotCold, F>,
}

impl<F> Prequal<F> {
    /// The paper's parameters. `probe` asks an endpoint for its requests in flight and its latency at such a load.
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

    /// The quantile of requests in flight above which an endpoint is hot: 0 goes by requests in flight alone,
    /// 1 by latency alone. Default 0.84.
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
    F: Fn(&Candidate) -> Fut,
    Fut: Future<Output = Result<LoadReport, E>> + Send + 'static,
{
    type Picker = PrequalPicker;

    fn picker(&mut self, candidates: &Candidates) -> PrequalPicker {
        PrequalPicker(self.probed.picker(candidates))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.probed.meter()
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.probed.poll_update(cx)
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

const POOL: usize = 16;
const DELTA: f64 = 1.0;
const LIFETIME: Duration = Duration::from_secs(1);
/// Answers whose requests in flight make the quantile.
const RECENT: usize = 128;

/// An answer in the pool.
#[derive(Clone, Copy, Debug)]
struct Answer {
    endpoint: Id,
    in_flight: f64,
    /// Seconds.
    latency: f64,
    at: Instant,
    /// How many times it has been used.
    used: u32,
}

/// An endpoint by the address of its vitals.
type Id = usize;

fn id(vitals: &Vitals) -> Id {
    std::ptr::from_ref(vitals) as usize
}

#[derive(Debug, Default)]
struct Pool {
    /// The oldest first.
    answers: Vec<Answer>,
    recent: VecDeque<f64>,
    /// Above that many in flight, an endpoint is hot.
    threshold: f64,
    /// Removals that are due, and whether the next is of the worst.
    removals: f64,
    worst_next: bool,
}

impl Pool {
    fn add(&mut self, answer: Answer, quantile: f64) {
        if self.answers.len() == POOL {
            self.answers.remove(0);
        }
        self.answers.push(answer);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(answer.in_flight);
        let mut recent: Vec<f64> = self.recent.iter().copied().collect();
        let at = ((recent.len() - 1) as f64 * quantile) as usize;
        // By the quantile 0 all are hot.
        self.threshold = match quantile {
            0.0 => -1.0,
            _ => *recent.select_nth_unstable_by(at, f64::total_cmp).1,
        };
    }

    fn expire(&mut self, now: Instant) {
        self.answers.retain(|answer| now.saturating_duration_since(answer.at) < LIFETIME);
    }

    fn is_hot(&self, answer: &Answer) -> bool {
        answer.in_flight > self.threshold
    }

    /// How an answer ranks, the best first.
    fn rank(&self, answer: &Answer) -> (bool, f64) {
        let hot = self.is_hot(answer);
        (hot, if hot { answer.in_flight } else { answer.latency })
    }

    fn best(&self, accepts: impl Fn(&Answer) -> bool) -> Option<usize> {
        let accepted = self.answers.iter().enumerate().filter(|(_, answer)| accepts(answer));
        let ranked = accepted.map(|(index, answer)| (self.rank(answer), index));
        ranked.min_by(|(one, _), (other, _)| compare(one, other)).map(|(_, index)| index)
    }

    /// Takes note that an answer was used.
    fn use_up(&mut self, index: usize, uses: f64, rng: &mut Rng) {
        let answer = &mut self.answers[index];
        answer.in_flight += 1.0;
        answer.used += 1;
        // Rounded at random, to that mean.
        let rounded = uses.floor() + f64::from(u8::from(rng.unit() < uses.fract()));
        if f64::from(answer.used) >= rounded {
            self.answers.remove(index);
        }
    }

    fn remove(&mut self, removals: f64) {
        self.removals += removals;
        while self.removals >= 1.0 {
            self.removals -= 1.0;
            let worst = self.worst_next;
            self.worst_next = !worst;
            let ranked = self.answers.iter().map(|answer| self.rank(answer)).enumerate();
            let index = match worst {
                true => ranked.max_by(|(_, one), (_, other)| compare(one, other)).map(|(at, _)| at),
                false => Some(0),
            };
            if let Some(index) = index.filter(|&index| index < self.answers.len()) {
                self.answers.remove(index);
            }
        }
    }
}

fn compare(one: &(bool, f64), other: &(bool, f64)) -> std::cmp::Ordering {
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
}

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

    fn picker(&mut self, candidates: &Candidates) -> HotColdPicker {
        let ids = candidates.iter().map(|candidate| id(candidate.vitals()));
        HotColdPicker {
            by_id: ids.zip(0..).collect(),
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            uses: self.rule.uses(candidates.len()),
            removals: self.rule.removals,
            pool: Arc::clone(&self.pool),
        }
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
    fn record(&self, _vitals: &Vitals, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn is_stateless(&self) -> bool {
        true
    }

    fn report(&self, vitals: &Vitals, report: &LoadReport, now: Instant) {
        let Some(in_flight) = report.requests_in_flight() else { return };
        let latency = report.latency().unwrap_or_default().as_secs_f64();
        let answer = Answer { endpoint: id(vitals), in_flight, latency, at: now, used: 0 };
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.add(answer, self.quantile);
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

    fn answer(endpoint: Id, in_flight: f64, latency: f64) -> Answer {
        Answer { endpoint, in_flight, latency, at: Instant::now(), used: 0 }
    }

    fn pool(answers: &[Answer]) -> Pool {
        let mut pool = Pool::default();
        answers.iter().for_each(|&answer| pool.add(answer, 0.84));
        pool.threshold = 5.0;
        pool
    }

    #[test]
    fn the_quickest_cold_one_is_taken_or_else_the_hot_one_with_the_fewest() {
        let mut all = pool(&[answer(0, 1.0, 0.3), answer(1, 5.0, 0.1), answer(2, 6.0, 0.01)]);
        assert_eq!(all.best(|_| true), Some(1), "cold, and quickest");
        assert_eq!(all.best(|answer| answer.endpoint == 2), Some(2));
        all.threshold = 0.0;
        assert_eq!(all.best(|_| true), Some(0), "all are hot");
    }

    #[test]
    fn the_oldest_and_the_worst_are_removed_in_turn() {
        let mut all = pool(&[answer(0, 1.0, 0.1), answer(1, 9.0, 0.1), answer(2, 2.0, 0.5)]);
        all.remove(1.0);
        assert_eq!(all.answers.iter().map(|one| one.endpoint).collect::<Vec<_>>(), [1, 2]);
        all.remove(0.5);
        all.remove(0.5);
        assert_eq!(all.answers[0].endpoint, 2, "the hot one was worse than the slow one");
        all.remove(7.0);
        assert!(all.answers.is_empty());
    }

    #[test]
    fn an_answer_is_used_as_often_as_the_rates_say() {
        let rule = Rule { probes: 3.0, removals: 1.0, quantile: 0.84 };
        assert!((rule.uses(100) - 2.0 / 1.52).abs() < 1e-9);
        assert_eq!(rule.uses(20), 1.0);
        let mut rng = Rng::seeded(1);
        let mut used = 0;
        for _ in 0..10_000 {
            let mut one = pool(&[answer(0, 1.0, 0.1)]);
            while !one.answers.is_empty() {
                one.use_up(0, 1.3, &mut rng);
                used += 1;
            }
        }
        assert!((12_700..13_300).contains(&used), "{used}");
    }

    #[test]
    fn answers_expire_and_the_pool_stays_small() {
        let now = Instant::now();
        let many: Vec<_> = (0..40).map(|endpoint| answer(endpoint, 1.0, 0.1)).collect();
        let mut pool = pool(&many);
        assert_eq!((pool.answers.len(), pool.answers[0].endpoint), (16, 24));
        pool.expire(now + Duration::from_secs(2));
        assert!(pool.answers.is_empty());
    }
}
