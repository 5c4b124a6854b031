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

use super::{round_robin::pick_in_turn, static_stride::StaticStride};
use crate::{
    ConfigError,
    endpoint::EndpointStats,
    load::Decayed,
    outcome::{LoadReport, Meter, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rng, Strategy,
        explain::{Observe, observed_pick},
        ticker::Ticker,
    },
};

/// Weighted round robin by what the endpoints report: an endpoint that answers many requests at a
/// low utilization gets more of them.
///
/// An endpoint's weight is `qps / (utilization + eps / qps * penalty)`: its requests per second
/// over its utilization, to which its errors are added. Weights are computed once a second. A new
/// endpoint's reports count only after ten seconds, and no report counts for longer than three
/// minutes. An endpoint without a usable report has the mean of the others' weights. If fewer than
/// two endpoints report, this is plain round robin. These weights are multiplied by those from
/// discovery.
///
/// Reports come with responses ([`Attempt::report`](crate::outcome::Attempt::report); the `http`
/// module reads ORCA's headers and trailers) or by [`Balancer::report`](crate::Balancer::report).
///
/// Source: gRPC A58 with the metrics of A114, including static stride scheduling. Weights are kept
/// between a tenth of their mean and ten times their mean, as in gRPC's Java and C++
/// implementations.
#[derive(Debug)]
pub struct WeightedRoundRobin {
    rule: Arc<Rule>,
    turn: Arc<AtomicU32>,
    period: Duration,
}

/// How weights are computed from reports.
#[derive(Clone, Debug)]
struct Rule {
    blackout: Duration,
    expiry: Duration,
    penalty: f64,
    metrics: Vec<String>,
}

const DEFAULT_PERIOD: Duration = Duration::from_secs(1);
const MIN_PERIOD: Duration = Duration::from_millis(100);
/// How many times the mean a weight may be, and the mean a weight.
const MAX_RATIO_TO_MEAN: f64 = 10.0;
/// The relative change of a weight from which a new picker is built.
const MIN_CHANGE: f64 = 0.01;

impl WeightedRoundRobin {
    /// Computes weights once a second, with a blackout of 10 s, an expiry of 180 s and an error
    /// penalty of 1.
    #[must_use]
    pub fn new() -> Self {
        let rule = Rule {
            blackout: Duration::from_secs(10),
            expiry: Duration::from_secs(180),
            penalty: 1.0,
            metrics: Vec::new(),
        };
        let turn = Rng::from_entropy().bits() as u32;
        Self { rule: Arc::new(rule), turn: Arc::new(AtomicU32::new(turn)), period: DEFAULT_PERIOD }
    }

    /// Sets how long an endpoint's reports are ignored after its first one. Default 10 s.
    ///
    /// The first report after a silence longer than the [`expiry`](Self::expiry) is a first one
    /// again.
    #[must_use]
    pub fn blackout(mut self, time: Duration) -> Self {
        Arc::make_mut(&mut self.rule).blackout = time;
        self
    }

    /// Sets how long a report counts. Default 180 s.
    ///
    /// # Errors
    ///
    /// If `time` is zero.
    pub fn expiry(mut self, time: Duration) -> Result<Self, ConfigError> {
        ConfigError::if_zero_time("expiry", time)?;
        Arc::make_mut(&mut self.rule).expiry = time;
        Ok(self)
    }

    /// Sets how often weights are computed. Default 1 s.
    ///
    /// # Errors
    ///
    /// If `period` is shorter than 100 ms. (gRPC A58 raises it to 100 ms.)
    pub fn period(mut self, period: Duration) -> Result<Self, ConfigError> {
        let (valid, value) = (period >= MIN_PERIOD, format!("{period:?}"));
        ConfigError::unless(valid, "period", value, "a time of at least 100 ms")?;
        self.period = period;
        Ok(self)
    }

    /// Sets how much an endpoint's share of errors adds to its utilization. Default 1; with 0,
    /// errors are ignored.
    ///
    /// # Errors
    ///
    /// If `penalty` is negative, infinite or not a number.
    pub fn error_penalty(mut self, penalty: f64) -> Result<Self, ConfigError> {
        let (valid, expected) =
            ((0.0..f64::INFINITY).contains(&penalty), "a finite number of at least 0");
        ConfigError::unless(valid, "error_penalty", penalty, expected)?;
        Arc::make_mut(&mut self.rule).penalty = penalty;
        Ok(self)
    }

    /// Sets the names of the reported metrics that stand for the utilization; see
    /// [`LoadReport::utilization`]. Without names, the application's utilization counts, or else
    /// that of the processors.
    #[must_use]
    pub fn metrics(mut self, names: impl IntoIterator<Item = String>) -> Self {
        Arc::make_mut(&mut self.rule).metrics = names.into_iter().collect();
        self
    }

    /// Starts at `turn`, for tests and simulations.
    #[must_use]
    pub fn starting_at(mut self, turn: u32) -> Self {
        self.turn = Arc::new(AtomicU32::new(turn));
        self
    }
}

/// Returns the weights of the eligible candidates at `now`.
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
    let clamped = |weight: f64| weight.clamp(mean / MAX_RATIO_TO_MEAN, mean * MAX_RATIO_TO_MEAN);
    let weight = |(one, reported): (&Candidate, Option<f64>)| {
        reported.map_or(mean, clamped) * f64::from(one.weight())
    };
    candidates.iter().zip(reported).map(weight).collect()
}

impl Clone for WeightedRoundRobin {
    /// The clone has a sequence of its own, which starts where this one is.
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
                if changes.any(|(new, old)| (new - old).abs() > old * MIN_CHANGE) {
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

/// The weight that follows from an endpoint's reports.
#[derive(Debug)]
struct ReportedWeight {
    rule: Arc<Rule>,
    /// The weight of the last report, and when that came.
    last: AtomicU64,
    /// The age of the endpoint's stats at its first report, or the first after a silence, in
    /// nanoseconds. The blackout starts then.
    since: AtomicU64,
}

impl ReportedWeight {
    /// Returns the weight, if there is a report that counts when the endpoint's stats have this
    /// age.
    fn usable(&self, age: u64) -> Option<f64> {
        let last = Decayed::load(&self.last);
        let since = self.since.load(Ordering::Relaxed);
        let seen = Duration::from_nanos(age.saturating_sub(since));
        let fresh = last.seconds_since(age) < self.rule.expiry.as_secs_f64();
        (last.value > 0.0 && fresh && seen >= self.rule.blackout).then(|| last.value.into())
    }
}

impl Meter for ReportedWeight {
    fn record(&self, _stats: &EndpointStats, _sample: &Sample<'_>) {}

    fn needs_latency(&self) -> bool {
        false
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        // Requests that take no utilization have no weight (gRPC A58): the last weight stays.
        let Some((qps, utilization)) = report
            .requests_per_second()
            .filter(|&qps| qps > 0.0)
            .zip(report.utilization(&self.rule.metrics).filter(|&utilization| utilization > 0.0))
        else {
            return;
        };
        let errors = report.errors_per_second().unwrap_or_default();
        let weight = qps / (utilization + errors / qps * self.rule.penalty);
        // Of a positive, finite size: 0 stands for no report, and a figure may be tiny.
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
#[expect(unnameable_types, reason = "named as <WeightedRoundRobin as Strategy>::Picker")]
pub struct WeightedRoundRobinPicker {
    candidates: Candidates,
    turns: StaticStride,
    turn: Arc<AtomicU32>,
}

impl WeightedRoundRobinPicker {
    #[inline]
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("weighted round robin");
        pick_in_turn(&self.candidates, context, observer, |observer| {
            let index = self.turns.index(|| observer.turn32(&self.turn));
            observer.say(|| {
                let share = self.turns.relative_weight(index) * 100.0;
                format!("a turn by the reported weights, here {share:.0} % of the heaviest")
            });
            index
        })
    }
}

impl<Req> Pick<Req> for WeightedRoundRobinPicker {
    observed_pick!(without Req);
}
