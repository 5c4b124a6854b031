use std::{cmp::Ordering, sync::Arc};

use super::{
    Candidate, Candidates, Pick, PickContext, Strategy,
    choice::{Contender, Sampler},
    metered::Metered,
};
use crate::{
    load::{FailureAware, Load, Outstanding, PeakEwma},
    outcome::Meter,
};

/// Least outstanding, or least of any other load: looks at all endpoints if they are few, at some
/// drawn at random if they are many, and takes the least loaded.
///
/// Ties are broken at random, in proportion to weights, so idle endpoints share the traffic by
/// weight. The default load is requests in flight, failures charged. Weights mean what they mean for
/// [`P2c`](super::P2c).
///
/// Where we differ from Envoy's `LEAST_REQUEST`: it stays least-outstanding when weights differ, and
/// small sets are scanned in full by default.
#[derive(Debug)]
pub struct LeastLoaded<L = FailureAware<Outstanding>> {
    load: Metered<L>,
    scan_up_to: usize,
    choices: usize,
}

impl<L: Load> LeastLoaded<L> {
    /// Compares endpoints by `load`. A load that is not [`FailureAware`] takes an endpoint that
    /// fails fast for an idle one.
    pub fn new(load: L) -> Self {
        Self { load: Metered::new(load), scan_up_to: 256, choices: 5 }
    }

    /// Up to how many endpoints all are looked at. Default 256. A pick takes time in proportion:
    /// see `docs/performance.md`; what it is worth is in `docs/tail-latency.md`.
    #[must_use]
    pub fn scan_up_to(mut self, endpoints: usize) -> Self {
        self.scan_up_to = endpoints;
        self
    }

    /// How many are looked at if there are more than [`scan_up_to`](Self::scan_up_to). Default 5;
    /// fewer than 2 count as 2.
    #[must_use]
    pub fn choices(mut self, choices: usize) -> Self {
        self.choices = choices.max(2);
        self
    }
}

impl LeastLoaded<FailureAware<PeakEwma>> {
    /// Compares endpoints by latency and requests in flight, failures charged.
    #[must_use]
    pub fn peak_ewma() -> Self {
        Self::new(FailureAware::new(PeakEwma::new()))
    }
}

impl Default for LeastLoaded {
    fn default() -> Self {
        Self::new(FailureAware::default())
    }
}

impl<L> Clone for LeastLoaded<L> {
    fn clone(&self) -> Self {
        Self { load: self.load.clone(), ..*self }
    }
}

impl<L: Load> Strategy for LeastLoaded<L> {
    type Picker = LeastLoadedPicker<L>;

    fn picker(&mut self, candidates: &Candidates) -> Self::Picker {
        let scan = candidates.len() <= self.scan_up_to.max(self.choices);
        LeastLoadedPicker {
            sampler: Sampler::new(candidates),
            choices: (!scan).then_some(self.choices),
            candidates: candidates.clone(),
            load: self.load.share(),
        }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter()
    }
}

/// The picker of [`LeastLoaded`].
#[derive(Debug)]
pub struct LeastLoadedPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    /// How many to draw; `None` to look at all.
    choices: Option<usize>,
    load: Arc<L>,
}

impl<L: Load> LeastLoadedPicker<L> {
    /// The least loaded for its weight of those accepted; ties go by weight.
    fn least<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Candidate>,
        context: &mut PickContext<'_>,
    ) -> Option<Contender<'a>> {
        let mut least: Option<Contender<'a>> = None;
        let mut tied = 0.0;
        for candidate in candidates {
            if !context.accepts(candidate) {
                continue;
            }
            let contender = Contender::new(candidate, &*self.load, context);
            let weight = f64::from(candidate.weight());
            let Some(best) = least else {
                (least, tied) = (Some(contender), weight);
                continue;
            };
            match contender.compare(&best) {
                Ordering::Less => (least, tied) = (Some(contender), weight),
                Ordering::Greater => {}
                Ordering::Equal => {
                    // A reservoir of one: each of the tied is left with a chance by its weight.
                    tied += weight;
                    if context.rng().unit() * tied < weight {
                        least = Some(contender);
                    }
                }
            }
        }
        least
    }
}

impl<L: Load, Req> Pick<Req> for LeastLoadedPicker<L> {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        if self.candidates.len() < 2 {
            return self.candidates.get(0);
        }
        let first = self.candidates.get(self.sampler.draw(context.rng()))?;
        let least = match self.choices {
            None => self.least(self.candidates.iter(), context),
            Some(choices) => {
                let mut rng = context.rng().clone();
                let drawn = (1..choices).map(|_| self.sampler.draw(&mut rng));
                let least =
                    self.least(drawn.filter_map(|index| self.candidates.get(index)), context);
                *context.rng() = rng;
                least
            }
        };
        if !context.accepts(first) {
            return least
                .map(|least| least.candidate)
                .or_else(|| self.candidates.fallback(context));
        }
        let incumbent = Contender::new(first, &*self.load, context);
        match least {
            Some(least) if least.beats(&incumbent) => Some(least.candidate),
            _ => Some(first),
        }
    }
}
