use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::stream::poll_fn;
use tokio::time::Instant;

use super::static_stride::StaticStride;
use crate::{
    endpoint::EndpointStats,
    load::Decayed,
    outcome::{LoadReport, Meter, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, InvalidParameter, Pick, PickContext, Rng,
        Strategy, ticker::Ticker,
    },
};

/// Weighted round robin by what the endpoints report: who answers many requests at a low utilization
/// gets more of them.
///
/// An endpoint's weight is its requests per second over its utilization, which its errors add to:
/// `qps / (utilization + eps / qps * penalty)`. Weights are worked out anew once a second. A new
/// endpoint's reports count only after ten seconds, and none counts for longer than three minutes;
/// without a usable report an endpoint has the mean of the others' weights. Where fewer than two
/// endpoints report, it is plain round robin. The weights that endpoints have from discovery are
/// multiplied by those.
///
/// Reports come with responses ([`Attempt::report`](crate::outcome::Attempt::report); the `http` edge
/// reads ORCA's headers and trailers) or by [`Balancer::report`](crate::Balancer::report).
///
/// Source: gRPC A58 with the metrics of A114, static stride scheduling included. Weights are kept
/// within a tenth and ten times their mean, as gRPC's Java and C++ implementations do.
#[derive(Debug)]
pub struct WeightedRoundRobin {
    rule: Arc<Rule>,
    turn: Arc<AtomicU32>,
    period: Duration,
}

/// How weights follow from reports.
#[derive(Clone, Debug)]
struct Rule {
    blackout: Duration,
    expiry: Duration,
    penalty: f64,
    metrics: Vec<String>,
}

const PERIOD: Duration = Duration::from_secs(1);
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// How far from the mean a weight may be.
const CLAMP: f64 = 10.0;
/// A change of a weight, relative to it, that is worth a new picker.
const NOTABLE: f64 = 0.01;

impl WeightedRoundRobin {
    /// Weights anew each second, a blackout of 10 s, expiry after 180 s, an error penalty of 1.
    #[must_use]
    pub fn new() -> Self {
        let rule = Rule {
            blackout: Duration::from_secs(10),
            expiry: Duration::from_secs(180),
            penalty: 1.0,
            metrics: Vec::new(),
        };
        let turn = Rng::from_entropy().bits() as u32;
        Self { rule: Arc::new(rule), turn: Arc::new(AtomicU32::new(turn)), period: PERIOD }
    }

    /// For how long after an endpoint's first report (or the first after a silence longer than the
    /// expiry) its reports don't count. Default 10 s.
    #[must_use]
    pub fn blackout(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.rule).blackout = time;
        self
    }

    /// For how long a report counts. Default 180 s.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] for zero.
    pub fn expiry(mut self, time: Duration) -> Result<Self, InvalidParameter> {
        if time.is_zero() {
            return Err(InvalidParameter::new("expiry", "longer than zero"));
        }
        Arc::make_mut(&mut self.rule).expiry = time;
        Ok(self)
    }

    /// How often weights are worked out anew. Default 1 s; shorter than 100 ms counts as 100 ms.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period.max(SHORTEST_PERIOD);
        self
    }

    /// How much an endpoint's share of errors adds to its utilization. Default 1; with 0 errors don't
    /// count.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] if it is negative or not a number.
    pub fn error_penalty(mut self, penalty: f64) -> Result<Self, InvalidParameter> {
        if !(0.0..f64::INFINITY).contains(&penalty) {
            return Err(InvalidParameter::new("error_penalty", "a number of at least 0"));
        }
        Arc::make_mut(&mut self.rule).penalty = penalty;
        Ok(self)
    }

    /// Metrics of the reports that tell the utilization, by name; see
    /// [`LoadReport::utilization`]. Default: none, so that the application's utilization counts, or
    /// else that of the processors.
    #[must_use]
    pub fn metrics(mut self, names: impl IntoIterator<Item = String>) -> Self {
        Arc::make_mut(&mut self.rule).metrics = names.into_iter().collect();
        self
    }

    /// Starts at a given turn, for tests and simulations.
    #[must_use]
    pub fn starting_at(mut self, turn: u32) -> Self {
        self.turn = Arc::new(AtomicU32::new(turn));
        self
    }
}

/// The weights of the eligible candidates at this moment.
fn weights(candidates: &Candidates, now: Instant) -> Vec<f64> {
    let reported: Vec<Option<f64>> = candidates
        .iter()
        .map(|one| one.meter::<ReportedWeight>()?.usable(one.stats().age(now)))
        .collect();
    let usable: Vec<f64> = reported.iter().copied().flatten().collect();
    let mean = match usable.len() {
        0 | 1 => return candidates.iter().map(|one| f64::from(one.weight())).collect(),
        several => usable.iter().sum::<f64>() / several as f64,
    };
    let clamped = |weight: f64| weight.clamp(mean / CLAMP, mean * CLAMP);
    let weight = |(one, reported): (&Candidate, Option<f64>)| {
        reported.map_or(mean, clamped) * f64::from(one.weight())
    };
    candidates.iter().zip(reported).map(weight).collect()
}

impl Clone for WeightedRoundRobin {
    /// Takes turns of its own, from where this one is.
    fn clone(&self) -> Self {
        Self {
            rule: Arc::clone(&self.rule),
            turn: Arc::new(AtomicU32::new(self.turn.load(Ordering::Relaxed))),
            period: self.period,
        }
    }
}

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for WeightedRoundRobin {
    type Picker = WeightedRoundRobinPicker;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<WeightedRoundRobinPicker> {
        let before = weights(candidates, candidates.now());
        let picker = WeightedRoundRobinPicker {
            turns: StaticStride::new(&before),
            candidates: candidates.clone(),
            turn: Arc::clone(&self.turn),
        };
        let (mut ticker, all) = (Ticker::new(self.period), candidates.clone());
        context.rebuild_on(poll_fn(move |cx| {
            while let Poll::Ready(now) = ticker.poll_tick(cx) {
                let weights = weights(&all, now);
                let mut changes = weights.iter().zip(&before);
                if changes.any(|(new, old)| (new - old).abs() > old * NOTABLE) {
                    return Poll::Ready(Some(()));
                }
            }
            Poll::Pending
        }));
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(ReportedWeight {
            rule: Arc::clone(&self.rule),
            last: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }))
    }
}

/// The weight that an endpoint's reports give it.
#[derive(Debug)]
struct ReportedWeight {
    rule: Arc<Rule>,
    last: AtomicU64,
    /// Age of the vitals at the first report after none or after a silence, in nanoseconds.
    since: AtomicU64,
}

impl ReportedWeight {
    /// The weight, if there is a report that counts at this age of the vitals.
    fn usable(&self, age: u64) -> Option<f64> {
        let last = Decayed::load(&self.last);
        let since = self.since.load(Ordering::Relaxed);
        let seen = Duration::from_nanos(age.saturating_sub(since));
        let fresh = last.seconds_since(age) < self.rule.expiry.as_secs_f64();
        (last.value > 0.0 && fresh && seen >= self.rule.blackout).then(|| last.value.into())
    }
}

impl Meter for ReportedWeight {
    fn record(&self, _vitals: &EndpointStats, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        let Some((qps, utilization)) = report
            .requests_per_second()
            .filter(|&qps| qps > 0.0)
            .zip(report.utilization(&self.rule.metrics))
        else {
            return;
        };
        let errors = report.errors_per_second().unwrap_or_default();
        let weight = qps / (utilization + errors / qps * self.rule.penalty);
        let weight = (weight as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
        let age = stats.age(now);
        let before = Decayed::load(&self.last);
        let silent = before.seconds_since(age) >= self.rule.expiry.as_secs_f64();
        if before.value == 0.0 || silent {
            self.since.store(age, Ordering::Relaxed);
        }
        Decayed::update(&self.last, |_| Some(Decayed::new(weight, age)));
    }

    fn needs_reports(&self) -> bool {
        true
    }
}

/// The picker of [`WeightedRoundRobin`].
#[derive(Debug)]
pub struct WeightedRoundRobinPicker {
    candidates: Candidates,
    turns: StaticStride,
    turn: Arc<AtomicU32>,
}

/// Turns that are skipped because an endpoint is not accepted, before all are looked at.
const SKIPS: usize = 32;

impl WeightedRoundRobinPicker {
    #[inline]
    fn next(&self) -> Option<&Candidate> {
        let next = || self.turn.fetch_add(1, Ordering::Relaxed);
        self.candidates.get(self.turns.turn(next))
    }

    /// The next was not accepted.
    #[cold]
    fn skip(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let turns = self.turns.len().min(SKIPS);
        let mut next = (1..turns).filter_map(|_| self.next());
        let accepted = next.find(|candidate| context.accepts(candidate));
        accepted.or_else(|| self.candidates.fallback(context))
    }
}

impl<Req> Pick<Req> for WeightedRoundRobinPicker {
    #[inline]
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let next = self.next()?;
        if context.accepts(next) { Some(next) } else { self.skip(context) }
    }
}
