use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::{
    Candidate, Candidates, Pick, PickContext, Strategy,
    choice::{Contender, Sampler},
};
use crate::{
    endpoint::Vitals,
    load::{FailureAware, Load, PredictedLatency},
    outcome::{LoadReport, Meter, Sample, Start},
};

/// Looks at the endpoints that reported last, and takes the least loaded of them: a few loads that
/// are known well are better than many that are known badly, and that different clients look at
/// different endpoints keeps them from all going for the same one.
///
/// Those that have not reported for ten seconds are drawn at random, as often as there are such,
/// and taken unless their load is more than twice that of the least loaded. While fewer than five
/// have reported, all are looked at. The default load is [`PredictedLatency`], failures charged.
/// Made for reports from responses and [probes](super::Probed) together; without probes, a client
/// keeps to the endpoints it knows.
///
/// Weights divide an endpoint's load, as for [`LeastLoaded`](super::LeastLoaded), but don't make
/// its reports fresher: shares are those of the weights only under high load.
///
/// A pick takes time in proportion to the endpoints; of more than 256 a stretch of so many is
/// looked at, from a random place.
#[derive(Debug)]
pub struct Freshest<L = FailureAware<PredictedLatency>> {
    load: Arc<L>,
    choices: usize,
}

const CHOICES: usize = 5;
pub(super) const MOST_CHOICES: usize = 16;
const STRETCH: usize = 256;
/// Nanoseconds after which an endpoint counts as one that doesn't report.
const SILENT: u64 = 10_000_000_000;
/// What load, beside the least, an endpoint that doesn't report may have.
const CLEARLY_WORSE: f64 = 2.0;

impl<L: Load> Freshest<L> {
    /// Compares endpoints by `load`.
    pub fn new(load: L) -> Self {
        Self { load: Arc::new(load), choices: CHOICES }
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
        Self { load: Arc::clone(&self.load), choices: self.choices }
    }
}

impl<L: Load> Strategy for Freshest<L> {
    type Picker = FreshestPicker<L>;

    fn picker(&mut self, candidates: &Candidates) -> FreshestPicker<L> {
        FreshestPicker {
            sampler: Sampler::new(candidates),
            candidates: candidates.clone(),
            load: Arc::clone(&self.load),
            choices: self.choices,
        }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(LastReport { at: AtomicU64::new(0), inner: self.load.meter() }))
    }
}

/// When an endpoint reported last: the age of its vitals in nanoseconds, 0 for never.
#[derive(Debug)]
struct LastReport {
    at: AtomicU64,
    inner: Option<Arc<dyn Meter>>,
}

impl LastReport {
    /// How old an endpoint's last report is, in nanoseconds.
    fn age(candidate: &Candidate, now: Instant) -> Option<u64> {
        let at = candidate.meter::<Self>()?.at.load(Ordering::Relaxed);
        (at > 0).then(|| candidate.vitals().age(now).saturating_sub(at))
    }
}

impl Meter for LastReport {
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(vitals, sample);
        }
    }

    fn start(&self, vitals: &Vitals, start: Start) {
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(vitals, start);
        }
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn report(&self, vitals: &Vitals, report: &LoadReport, now: Instant) {
        if report.requests_in_flight().is_some() {
            self.at.store(vitals.age(now), Ordering::Relaxed);
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_reports()) {
            inner.report(vitals, report, now);
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
    choices: usize,
}

/// The candidates with the freshest reports so far, the freshest first.
struct Freshly<'a> {
    found: [Option<(u64, &'a Candidate)>; MOST_CHOICES],
    len: usize,
}

impl<'a> Freshly<'a> {
    /// `age` is that of the report, in nanoseconds.
    fn add(&mut self, age: u64, candidate: &'a Candidate, most: usize) {
        let stale = |place: &Option<(u64, &Candidate)>| place.is_some_and(|(other, _)| other > age);
        let full = self.len == most;
        if full && !stale(&self.found[most - 1]) {
            return;
        }
        let mut place = if full { most - 1 } else { self.len };
        self.len = (self.len + 1).min(most);
        while place > 0 && stale(&self.found[place - 1]) {
            self.found[place] = self.found[place - 1];
            place -= 1;
        }
        self.found[place] = Some((age, candidate));
    }
}

impl<L: Load> FreshestPicker<L> {
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

    /// An endpoint that doesn't report and is not clearly worse, as often as there are such.
    fn silent_instead(
        &self,
        least: &Contender<'_>,
        now: Instant,
        context: &mut PickContext<'_>,
    ) -> Option<Contender<'_>> {
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        let silent = LastReport::age(drawn, now).is_none_or(|age| age > SILENT);
        if !silent || !context.accepts(drawn) {
            return None;
        }
        let drawn = Contender::new(drawn, &*self.load, context);
        (drawn.load() <= CLEARLY_WORSE * least.load()).then_some(drawn)
    }
}

impl<L: Load, Req> Pick<Req> for FreshestPicker<L> {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let len = self.candidates.len();
        if len < 2 {
            return self.candidates.get(0);
        }
        let (start, now) = (context.rng().below(len), context.now());
        let stretch = || {
            let round = (start..len).chain(0..start).take(STRETCH);
            round.filter_map(|index| self.candidates.get(index))
        };
        let mut freshest = Freshly { found: [None; MOST_CHOICES], len: 0 };
        for candidate in stretch().filter(|candidate| context.accepts(candidate)) {
            if let Some(age) = LastReport::age(candidate, now) {
                freshest.add(age, candidate, self.choices);
            }
        }
        let least = if freshest.len < self.choices.min(len) {
            self.least(stretch(), context)
        } else {
            let found = freshest.found.iter().flatten().map(|(_, candidate)| *candidate);
            let least = self.least(found, context);
            least.map(|least| self.silent_instead(&least, now, context).unwrap_or(least))
        };
        let least = least.map(|least| least.candidate);
        least.or_else(|| self.candidates.fallback(context))
    }
}
