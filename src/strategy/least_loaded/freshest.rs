use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tokio::time::Instant;

use super::recent_reports::{Number, Recent};
use crate::{
    endpoint::EndpointStats,
    load::{FailureAware, Load, PredictedLatency},
    outcome::{LoadReport, Meter, Sample, Start},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        sampling::sampler::{Contender, Sampler},
    },
};

/// Looks at the endpoints that reported last, and takes the least loaded of them: a few loads that
/// are known well are better than many that are known badly, and that different clients look at
/// different endpoints keeps them from all going for the same one.
///
/// Those that have not reported for ten seconds, in which all together have twice for each endpoint,
/// are drawn at random, as often as there are such, and taken unless their load is more than twice that
/// of the least loaded. So are those that have no request of this client's, and so no occasion to report,
/// once all together have reported 128 times for each endpoint. While the latest 128 reports are of fewer
/// than five endpoints, all are looked at, or 64 in a row from a random place. The default load is
/// [`PredictedLatency`], failures charged. Made for reports from responses and [probes](crate::strategy::Probed)
/// together; without probes, a client of many endpoints keeps to those it knows.
///
/// Weights mean what they mean for [`LeastLoaded`](crate::strategy::LeastLoaded): where they differ, an endpoint
/// drawn by weight has the request unless the least loaded is better for its weight.
///
/// A pick takes the same time among few and among many endpoints.
#[derive(Debug)]
pub struct Freshest<L = FailureAware<PredictedLatency>> {
    load: Arc<L>,
    recent: Arc<Recent>,
    choices: usize,
}

const CHOICES: usize = 5;
pub(crate) const MOST_CHOICES: usize = 16;
const STRETCH: usize = 64;
/// Nanoseconds after which an endpoint counts as one that doesn't report, if all together have
/// reported so many times for each meanwhile: where few are asked now and then, it is not its turn yet.
const SILENT: u64 = 10_000_000_000;
const MISSED: usize = 2;
/// After so many reports for each endpoint, one without requests of this client's counts as silent
/// too; one that has requests and says nothing stands still.
const FORGOTTEN: usize = 128;
/// What load, beside the least, an endpoint that doesn't report may have.
const CLEARLY_WORSE: f64 = 2.0;

impl<L: Load> Freshest<L> {
    /// Compares endpoints by `load`.
    pub fn new(load: L) -> Self {
        Self { load: Arc::new(load), recent: Arc::default(), choices: CHOICES }
    }

    /// How many of the freshest are looked at. Default 5; from 1 to 16.
    #[must_use]
    pub fn choices(mut self, choices: usize) -> Self {
        self.choices = choices.clamp(1, MOST_CHOICES);
        self
    }
}

impl Default for Freshest {
    fn default() -> Self {
        Self::new(FailureAware::new(PredictedLatency::new()))
    }
}

impl<L> Clone for Freshest<L> {
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
            // Another strategy's says nothing here.
            let Some(number) = meter.and_then(|meter| meter.number.among(&self.recent)) else {
                continue;
            };
            let number = number as usize;
            if by_number.len() <= number {
                by_number.resize(number + 1, NOBODY);
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
            weight: candidates.iter().map(|candidate| f64::from(candidate.weight())).sum(),
        };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        let (number, inner) = (self.recent.number(), self.load.meter());
        Some(Arc::new(LastReport {
            number,
            at: AtomicU64::new(0),
            before: AtomicUsize::new(0),
            inner,
        }))
    }
}

/// An index that no candidate has.
const NOBODY: u32 = u32::MAX;

/// When an endpoint reported last.
#[derive(Debug)]
struct LastReport {
    number: Number,
    /// The age of its vitals in nanoseconds, 0 for never.
    at: AtomicU64,
    /// How many reports of all endpoints there were before.
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
            self.at.store(stats.age(now), Ordering::Relaxed);
            self.before.store(self.number.reported(), Ordering::Relaxed);
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
pub struct FreshestPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    load: Arc<L>,
    recent: Arc<Recent>,
    /// Indices of candidates by the numbers that they report under.
    by_number: Box<[u32]>,
    choices: usize,
    /// The sum of all weights.
    weight: f64,
}

impl<L: Load> FreshestPicker<L> {
    /// Those with the freshest reports, the freshest first, as many as there are choices.
    fn freshest(&self, context: &PickContext<'_>) -> Option<[Option<&Candidate>; MOST_CHOICES]> {
        let (mut found, mut indices, mut len) = ([None; MOST_CHOICES], [NOBODY; MOST_CHOICES], 0);
        let wanted = self.choices.min(self.candidates.len());
        for number in self.recent.latest() {
            let Some(&index) = self.by_number.get(number as usize) else { continue };
            if index == NOBODY || indices[..len].contains(&index) {
                continue;
            }
            let candidate = self.candidates.get(index as usize);
            let Some(candidate) = candidate.filter(|one| context.accepts(one)) else { continue };
            (found[len], indices[len]) = (Some(candidate), index);
            len += 1;
            if len == wanted {
                return Some(found);
            }
        }
        None
    }

    fn least<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Candidate>,
        context: &mut PickContext<'_>,
    ) -> Option<Contender<'a>> {
        let mut least: Option<Contender<'a>> = None;
        for candidate in candidates {
            if context.accepts(candidate) {
                let contender = Contender::new(candidate, &*self.load, context);
                if least.is_none_or(|least| contender.compare(&least).is_lt()) {
                    least = Some(contender);
                }
            }
        }
        least
    }

    fn is_silent(&self, candidate: &Candidate, now: Instant) -> bool {
        let Some(last) = candidate.meter::<LastReport>() else { return true };
        let (at, stats) = (last.at.load(Ordering::Relaxed), candidate.stats());
        let before = last.before.load(Ordering::Relaxed);
        // Negative if it reports at this moment: then `before` is ahead of what was counted.
        let since = self.recent.count().wrapping_sub(before) as isize;
        let turns = match at {
            0 => MISSED,
            _ if stats.age(now).saturating_sub(at) > SILENT => MISSED,
            _ if stats.outstanding() == 0 => FORGOTTEN,
            _ => return false,
        };
        // Reports of all endpoints for one of this, going by weights.
        let turn = self.weight / f64::from(candidate.weight().max(1));
        since as f64 > turns as f64 * turn
    }

    /// The endpoint that was drawn by weight, if it is to have the request and not the least loaded.
    ///
    /// One that doesn't report has it if it is not clearly worse. One that does has it only where
    /// weights differ: those that report most would otherwise get more than their weight says.
    fn drawn_instead(
        &self,
        least: &Contender<'_>,
        context: &mut PickContext<'_>,
    ) -> Option<Contender<'_>> {
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        let silent = self.is_silent(drawn, context.now());
        let weighted = matches!(self.sampler, Sampler::Weighted(_));
        if !(silent || weighted) || !context.accepts(drawn) {
            return None;
        }
        let drawn = Contender::new(drawn, &*self.load, context);
        let kept =
            silent && drawn.is_at_most(CLEARLY_WORSE, least) || weighted && !least.beats(&drawn);
        kept.then_some(drawn)
    }
}

impl<L: Load, Req> Pick<Req> for FreshestPicker<L> {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let len = self.candidates.len();
        if len < 2 {
            return self.candidates.get(0);
        }
        let freshest = self.freshest(context);
        // Where all were looked at, none of equal weight can have been overlooked.
        let draws = freshest.is_some() || matches!(self.sampler, Sampler::Weighted(_));
        let mut least = match freshest {
            Some(freshest) => self.least(freshest.into_iter().flatten(), context),
            None => {
                let start = context.rng().below(len);
                let round = (start..len).chain(0..start).take(STRETCH);
                self.least(round.filter_map(|index| self.candidates.get(index)), context)
            }
        };
        if draws {
            least = least.map(|least| self.drawn_instead(&least, context).unwrap_or(least));
        }
        let least = least.map(|least| least.candidate);
        least.or_else(|| self.candidates.fallback(context))
    }
}
