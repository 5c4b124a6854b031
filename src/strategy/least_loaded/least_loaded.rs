use std::{cmp::Ordering, ops::Range, sync::Arc};

use crate::{
    load::{FailureAware, Load, Outstanding, PeakEwma},
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rng, Strategy,
        metered::Metered,
        sampling::sampler::{Contender, Sampler},
    },
};

/// Least outstanding, or least of any other load: looks at all endpoints, or at a stretch of them if
/// they are many, and takes the least loaded.
///
/// Ties are broken at random, in proportion to weights, so idle endpoints share the traffic by
/// weight. The default load is requests in flight, failures charged. Weights mean what they mean for
/// [`P2c`](crate::strategy::P2c).
///
/// Where we differ from Envoy's `LEAST_REQUEST`: it stays least-outstanding when weights differ, and
/// it looks at many endpoints instead of two: what that is worth is in `docs/tail-latency.md`.
#[derive(Debug)]
pub struct LeastLoaded<L = FailureAware<Outstanding>> {
    load: Metered<L>,
    scan_up_to: usize,
}

const SCAN_UP_TO: usize = 100;

impl<L: Load> LeastLoaded<L> {
    /// Compares endpoints by `load`. A load that is not [`FailureAware`] takes an endpoint that
    /// fails fast for an idle one.
    pub fn new(load: L) -> Self {
        Self { load: Metered::new(load), scan_up_to: SCAN_UP_TO }
    }

    /// How many endpoints are looked at for a request: all, if they are no more, or else so many in
    /// a row from a random place. Default 100; fewer than 2 count as 2. A pick takes time in
    /// proportion.
    #[must_use]
    pub fn scan_up_to(mut self, endpoints: usize) -> Self {
        self.scan_up_to = endpoints.max(2);
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
        Self { load: self.load.clone(), scan_up_to: self.scan_up_to }
    }
}

impl<L: Load> Strategy for LeastLoaded<L> {
    type Picker = LeastLoadedPicker<L>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let picker = LeastLoadedPicker {
            sampler: Sampler::new(candidates),
            scan_up_to: self.scan_up_to,
            candidates: candidates.clone(),
            load: self.load.share(),
        };
        Built::new(picker, candidates.clone())
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
    scan_up_to: usize,
    load: Arc<L>,
}

impl<L: Load> LeastLoadedPicker<L> {
    /// The positions that are looked at: all, or two ranges that are one in a ring.
    fn stretch(&self, rng: &mut Rng) -> [Range<usize>; 2] {
        let (len, most) = (self.candidates.len(), self.scan_up_to);
        if len <= most {
            return [0..len, 0..0];
        }
        let start = rng.below(len);
        let end = start + most;
        [start..end.min(len), 0..end.saturating_sub(len)]
    }

    /// Shows the candidates of a stretch that are accepted.
    #[inline]
    fn visit<'a, 'c>(
        &'a self,
        context: &mut PickContext<'c>,
        mut see: impl FnMut(&'a Candidate, &mut PickContext<'c>),
    ) {
        for range in self.stretch(context.rng()) {
            self.candidates.visit(range, |candidate| {
                if context.accepts(candidate) {
                    see(candidate, context);
                }
            });
        }
    }

    /// The least loaded of those accepted, if all have the same weight; one of those if several are.
    #[inline]
    fn least_of_equals(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let (mut found, mut least, mut tied) = (None, f64::INFINITY, 0);
        self.visit(context, |candidate, context| {
            let score = self.load.score(&candidate.gauge(context.class()), context.clock());
            let load = score.with_one_more();
            if load < least {
                (found, least, tied) = (Some(candidate), load, 1);
            } else if load == least {
                // A reservoir of one: each of the tied is left with the same chance.
                tied += 1;
                if context.rng().below(tied) == 0 {
                    found = Some(candidate);
                }
            }
        });
        found
    }

    /// The least loaded for its weight of those accepted, beside one that was drawn by weight.
    fn least_for_weight(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        let drawn = context.accepts(drawn).then(|| Contender::new(drawn, &*self.load, context));
        let (mut least, mut tied): (Option<Contender<'_>>, f64) = (None, 0.0);
        self.visit(context, |candidate, context| {
            let contender = Contender::new(candidate, &*self.load, context);
            let weight = f64::from(candidate.weight());
            match least.map_or(Ordering::Less, |least| contender.compare(&least)) {
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
        });
        match (least, drawn) {
            (Some(least), Some(drawn)) if least.beats(&drawn) => Some(least.candidate),
            (least, drawn) => drawn.or(least).map(|contender| contender.candidate),
        }
    }
}

impl<L: Load, Req> Pick<Req> for LeastLoadedPicker<L> {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        if self.candidates.len() < 2 {
            return self.candidates.get(0);
        }
        let found = match self.sampler {
            Sampler::Uniform(_) => self.least_of_equals(context),
            Sampler::Weighted(_) => self.least_for_weight(context),
        };
        // Of a stretch, none may have been accepted.
        found.or_else(|| self.candidates.fallback(context))
    }
}
