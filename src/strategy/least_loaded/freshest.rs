use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::time::Instant;

use super::recent_reports::{EndpointNumber, RecentReports};
use crate::{
    ConfigError,
    endpoint::EndpointStats,
    load::{FailureAware, Load, PredictedLatency},
    outcome::{LoadReport, Meter, Sample, Start},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
        sampling::sampler::{Contender, Sampler},
    },
};

/// Picks the least loaded of the endpoints that reported last.
///
/// A few loads that are known well are better than many that are known badly. As different clients
/// look at different endpoints, they do not all send to the same one.
///
/// The default load is [`PredictedLatency`], with failures charged. This strategy is made for
/// reports from responses and [probes](crate::strategy::Probed) together. Without probes, a client
/// of many endpoints keeps to those it knows. While the latest 128 reports are from fewer than
/// [`choices`](Self::choices) endpoints that can take the request, a pick looks at all endpoints,
/// or at 64 consecutive ones from a random index on.
///
/// An endpoint counts as *silent* in either case:
///
/// - It has not reported for ten seconds, in which all together have reported twice for each
///   endpoint.
/// - It has none of this client's requests in flight, and so no occasion to report, and all
///   together have reported 128 times for each endpoint since its last report.
///
/// Each pick also draws one endpoint at random, by weight. If it is silent, it gets the request
/// unless its load is more than twice that of the least loaded.
///
/// Weights have the same meaning as for [`LeastLoaded`](crate::strategy::LeastLoaded): where they
/// differ, the drawn endpoint gets the request unless the least loaded is better for its weight.
///
/// A pick takes the same time among few and among many endpoints.
#[derive(Debug)]
pub struct Freshest<L = FailureAware<PredictedLatency>> {
    load: Arc<L>,
    recent: Arc<RecentReports>,
    choices: usize,
}

const DEFAULT_CHOICES: usize = 5;
/// A pick keeps the choices on the stack.
const MAX_CHOICES: usize = 16;
/// How many endpoints a pick looks at if too few have reported.
const MAX_SCAN: usize = 64;
/// The time without a report after which an endpoint is silent, if it has also missed
/// [`MISSED_TURNS`]. Without that condition, a client that sends rarely would find every endpoint
/// silent.
const SILENCE_NANOS: u64 = 10_000_000_000;
/// A turn is the number of reports of all endpoints in which one of this endpoint is expected.
const MISSED_TURNS: usize = 2;
/// The number of turns after which an endpoint without a request of this client's is silent. An
/// endpoint that has a request but does not report may be stuck, so it is not given more.
const IDLE_TURNS: usize = 128;
/// A silent endpoint gets the request if its load is at most this many times the least.
const MAX_SILENT_LOAD: f64 = 2.0;

impl<L: Load> Freshest<L> {
    /// Compares endpoints by `load`.
    pub fn new(load: L) -> Self {
        Self { load: Arc::new(load), recent: Arc::default(), choices: DEFAULT_CHOICES }
    }

    /// Sets how many of the endpoints that reported last are compared. Default 5.
    ///
    /// # Errors
    ///
    /// If `choices` is not from 1 to 16.
    pub fn choices(mut self, choices: usize) -> Result<Self, ConfigError> {
        let valid = (1..=MAX_CHOICES).contains(&choices);
        ConfigError::unless(valid, "choices", choices, "a number from 1 to 16")?;
        self.choices = choices;
        Ok(self)
    }
}

impl Default for Freshest {
    fn default() -> Self {
        Self::new(FailureAware::new(PredictedLatency::new()))
    }
}

impl<L> Clone for Freshest<L> {
    /// The clone shares the log of reports: one of several clones creates the endpoints' meters,
    /// and the pickers of all must understand their numbers.
    fn clone(&self) -> Self {
        let (load, recent) = (Arc::clone(&self.load), Arc::clone(&self.recent));
        Self { load, recent, choices: self.choices }
    }
}

impl<L: Load> Strategy for Freshest<L> {
    type Picker = FreshestPicker<L>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<FreshestPicker<L>> {
        let mut by_number = Vec::new();
        for (candidate, index) in candidates.iter().zip(0..) {
            let meter = candidate.meter::<LastReport>();
            // A meter of another `Freshest` has a number in a different log.
            let Some(number) = meter.and_then(|meter| meter.number.among(&self.recent)) else {
                continue;
            };
            let number = number as usize;
            if by_number.len() <= number {
                by_number.resize(number + 1, NO_INDEX);
            }
            by_number[number] = index;
        }
        let picker = FreshestPicker {
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            load: Arc::clone(&self.load),
            recent: Arc::clone(&self.recent),
            by_number: by_number.into(),
            choices: self.choices,
            total_weight: candidates.iter().map(|candidate| f64::from(candidate.weight())).sum(),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(LastReport {
            number: self.recent.assign(),
            age: AtomicU64::new(0),
            before: AtomicUsize::new(0),
            inner: self.load.meter(),
        }))
    }
}

/// An index that no candidate has.
const NO_INDEX: u32 = u32::MAX;

/// Records when an endpoint reported last, and passes everything on to the load's meter.
#[derive(Debug)]
struct LastReport {
    number: EndpointNumber,
    /// The age of the endpoint's stats at its last report, in nanoseconds; 0 before the first.
    age: AtomicU64,
    /// The number of reports of all endpoints before its last one.
    before: AtomicUsize,
    inner: Option<Arc<dyn Meter>>,
}

impl Meter for LastReport {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
    }

    fn start(&self, stats: &EndpointStats, start: Start) {
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(stats, start);
        }
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if report.requests_in_flight().is_some() {
            // Not one atomic step: a pick that reads a new `age` beside an old `before`, or the
            // reverse, draws a wrong conclusion about one request only.
            self.age.store(stats.age(now), Ordering::Relaxed);
            self.before.store(self.number.record(), Ordering::Relaxed);
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_reports()) {
            inner.report(stats, report, now);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

/// The picker of [`Freshest`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <Freshest<L> as Strategy>::Picker")]
pub struct FreshestPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    load: Arc<L>,
    recent: Arc<RecentReports>,
    /// The index of each candidate, by its number in the log; `NO_INDEX` for other numbers.
    by_number: Box<[u32]>,
    choices: usize,
    total_weight: f64,
}

impl<L: Load> FreshestPicker<L> {
    /// Returns the accepted candidates that reported last, the latest first, or `None` if there are
    /// fewer than `choices` in the log.
    fn freshest(&self, context: &PickContext<'_>) -> Option<[Option<&Candidate>; MAX_CHOICES]> {
        let (mut found, mut indexes, mut len) = ([None; MAX_CHOICES], [NO_INDEX; MAX_CHOICES], 0);
        let wanted = self.choices.min(self.candidates.len());
        for number in self.recent.latest() {
            // The log also has numbers of endpoints that are not candidates here, or were added
            // since.
            let Some(&index) = self.by_number.get(number as usize) else { continue };
            // At most 16 are compared, so a search in the list is faster than a set.
            if index == NO_INDEX || indexes[..len].contains(&index) {
                continue;
            }
            let candidate = self.candidates.get(index as usize);
            let Some(candidate) = candidate.filter(|one| context.accepts(one)) else { continue };
            (found[len], indexes[len]) = (Some(candidate), index);
            len += 1;
            if len == wanted {
                return Some(found);
            }
        }
        None
    }

    /// Returns the least loaded of the accepted `candidates`; of equals, the first.
    fn least<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Candidate>,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<Contender<'a>> {
        let mut least: Option<Contender<'a>> = None;
        for candidate in candidates {
            if context.accepts(candidate) {
                let contender = Contender::new(candidate, &*self.load, context);
                observer.compare(candidate, || contender.load());
                if least.is_none_or(|least| contender.compare(&least).is_lt()) {
                    least = Some(contender);
                }
            }
        }
        least
    }

    fn is_silent(&self, candidate: &Candidate, now: Instant) -> bool {
        let Some(last) = candidate.meter::<LastReport>() else { return true };
        let (age, stats) = (last.age.load(Ordering::Relaxed), candidate.stats());
        let before = last.before.load(Ordering::Relaxed);
        // If the endpoint reports at this moment, `before` may be ahead of the count that is read
        // here. As a signed number, the difference is then negative, not huge.
        let since = self.recent.count().wrapping_sub(before) as isize;
        let turns = match age {
            0 => MISSED_TURNS,
            _ if stats.age(now).saturating_sub(age) > SILENCE_NANOS => MISSED_TURNS,
            _ if stats.outstanding() == 0 => IDLE_TURNS,
            _ => return false,
        };
        // Endpoints are expected to report in proportion to their weights, as they get requests.
        let turn = self.total_weight / f64::from(candidate.weight().max(1));
        since as f64 > turns as f64 * turn
    }

    /// Draws an endpoint by weight, and returns it if it gets the request instead of the least
    /// loaded.
    ///
    /// A silent endpoint gets it if it is not clearly worse. One that reports gets it only where
    /// weights differ: those that report most would otherwise get more than their share.
    fn drawn_instead(
        &self,
        least: &Contender<'_>,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<Contender<'_>> {
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        let silent = self.is_silent(drawn, context.now());
        let weighted = matches!(self.sampler, Sampler::Weighted(_));
        if !(silent || weighted) || !context.accepts(drawn) {
            return None;
        }
        let drawn = Contender::new(drawn, &*self.load, context);
        observer.compare(drawn.candidate, || drawn.load());
        let kept =
            silent && drawn.is_at_most(MAX_SILENT_LOAD, least) || weighted && !least.beats(&drawn);
        observer.say(|| {
            let name = Brief::name(drawn.candidate.name());
            let why = if silent { "which has not reported for long" } else { "by weight" };
            let result = if kept { "gets" } else { "is too loaded to get" };
            format!("draws {name} {why}, and it {result} the request")
        });
        kept.then_some(drawn)
    }
}

impl<L: Load> FreshestPicker<L> {
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("freshest");
        let len = self.candidates.len();
        if len < 2 {
            observer.say(|| "there is no choice".to_owned());
            return self.candidates.get(0);
        }
        let freshest = self.freshest(context);
        // A scan sees silent endpoints as well, so equal weights need no draw beside it.
        observer.say(|| match &freshest {
            Some(freshest) => {
                let count = freshest.iter().flatten().count();
                format!("compares the {count} that reported last, the lowest load wins")
            }
            None => format!(
                "compares {} of {len}, the lowest load wins: fewer than {} have reported lately",
                len.min(MAX_SCAN),
                self.choices.min(len),
            ),
        });
        let draws = freshest.is_some() || matches!(self.sampler, Sampler::Weighted(_));
        let mut least = match freshest {
            Some(freshest) => self.least(freshest.into_iter().flatten(), context, observer),
            None => {
                let start = context.rng().below(len);
                let scan = (start..len).chain(0..start).take(MAX_SCAN);
                self.least(scan.filter_map(|index| self.candidates.get(index)), context, observer)
            }
        };
        if draws {
            least =
                least.map(|least| self.drawn_instead(&least, context, observer).unwrap_or(least));
        }
        let least = least.map(|least| least.candidate);
        // Of the endpoints looked at, none may have been accepted, although others would be.
        least.or_else(|| {
            observer.say(|| "searches all from a random one on".to_owned());
            self.candidates.fallback(context)
        })
    }
}

impl<L: Load, Req> Pick<Req> for FreshestPicker<L> {
    observed_pick!(without Req);
}
