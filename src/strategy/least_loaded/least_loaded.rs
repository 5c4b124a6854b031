use std::{cmp::Ordering, ops::Range, sync::Arc};

use crate::{
    ConfigError,
    load::{FailureAware, Load, Outstanding, PeakEwma},
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rng, Strategy,
        explain::{Brief, Observe, observed_pick},
        metered::Metered,
        sampling::sampler::{Contender, Sampler},
    },
};

/// Picks the least loaded endpoint of all, or of a range of them if there are many.
///
/// Ties are broken at random, in proportion to weights, so idle endpoints share the traffic by
/// weight. The default load is requests in flight, with failures charged. Weights have the same
/// meaning as for [`P2c`](crate::strategy::P2c).
///
/// Where this differs from Envoy's `LEAST_REQUEST`: it still compares requests in flight when
/// weights differ, and it looks at many endpoints instead of two. `docs/tail-latency.md` shows the
/// effect.
#[derive(Debug)]
pub struct LeastLoaded<L = FailureAware<Outstanding>> {
    load: Metered<L>,
    scan_up_to: usize,
}

const DEFAULT_SCAN: usize = 100;

impl<L: Load> LeastLoaded<L> {
    /// Compares endpoints by `load`. A load that is not [`FailureAware`] mistakes an endpoint that
    /// fails fast for an idle one.
    pub fn new(load: L) -> Self {
        Self { load: Metered::new(load), scan_up_to: DEFAULT_SCAN }
    }

    /// Sets how many endpoints are looked at for a request. Default 100.
    ///
    /// If there are more, a pick looks at this many consecutive ones, from a random index on. The
    /// time of a pick is in proportion to the number.
    ///
    /// # Errors
    ///
    /// If `endpoints` is below 2.
    pub fn scan_up_to(mut self, endpoints: usize) -> Result<Self, ConfigError> {
        ConfigError::unless(endpoints >= 2, "scan_up_to", endpoints, "at least 2")?;
        self.scan_up_to = endpoints;
        Ok(self)
    }
}

impl LeastLoaded<FailureAware<PeakEwma>> {
    /// Compares endpoints by latency and requests in flight, with failures charged.
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
#[expect(unnameable_types, reason = "named as <LeastLoaded<L> as Strategy>::Picker")]
pub struct LeastLoadedPicker<L> {
    candidates: Candidates,
    sampler: Sampler,
    scan_up_to: usize,
    load: Arc<L>,
}

impl<L: Load> LeastLoadedPicker<L> {
    /// Returns the indexes to look at: all, or a range that may wrap around and is then two.
    fn ranges(&self, rng: &mut Rng) -> [Range<usize>; 2] {
        let (len, most) = (self.candidates.len(), self.scan_up_to);
        if len <= most {
            return [0..len, 0..0];
        }
        let start = rng.below(len);
        let end = start + most;
        [start..end.min(len), 0..end.saturating_sub(len)]
    }

    /// Calls `see` with each accepted candidate within the ranges.
    #[inline]
    fn visit<'a, 'c>(
        &'a self,
        context: &mut PickContext<'c>,
        mut see: impl FnMut(&'a Candidate, &mut PickContext<'c>),
    ) {
        for range in self.ranges(context.rng()) {
            self.candidates.visit(range, |candidate| {
                if context.accepts(candidate) {
                    see(candidate, context);
                }
            });
        }
    }

    /// Returns the least loaded accepted candidate, for equal weights. Ties are broken at random.
    #[inline]
    fn least_of_equals(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        let (mut found, mut least, mut tied) = (None, f64::INFINITY, 0);
        self.visit(context, |candidate, context| {
            let score = self.load.score(&candidate.gauge(context.class()), context.clock());
            let load = score.with_one_more();
            observer.compare(candidate, || load);
            if load < least {
                (found, least, tied) = (Some(candidate), load, 1);
            } else if load == least {
                // Reservoir sampling: each of the tied candidates is kept with the same
                // probability.
                tied += 1;
                if context.rng().below(tied) == 0 {
                    found = Some(candidate);
                }
            }
        });
        observer.say(|| match tied {
            0 | 1 => "the lowest wins".to_owned(),
            tied => format!("a random one of the {tied} lowest wins"),
        });
        found
    }

    /// Returns an accepted candidate that is drawn by weight, or the least loaded one for its
    /// weight if that beats it.
    fn least_for_weight(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        let drawn = self.candidates.get(self.sampler.draw(context.rng()))?;
        let drawn = context.accepts(drawn).then(|| Contender::new(drawn, &*self.load, context));
        if let Some(drawn) = &drawn {
            observer.compare(drawn.candidate, || drawn.load());
        }
        let (mut least, mut tied): (Option<Contender<'_>>, f64) = (None, 0.0);
        self.visit(context, |candidate, context| {
            let contender = Contender::new(candidate, &*self.load, context);
            observer.compare(candidate, || contender.load());
            let weight = f64::from(candidate.weight());
            match least.map_or(Ordering::Less, |least| contender.compare(&least)) {
                Ordering::Less => (least, tied) = (Some(contender), weight),
                Ordering::Greater => {}
                Ordering::Equal => {
                    // Reservoir sampling: each of the tied candidates is kept with a probability in
                    // proportion to its weight.
                    tied += weight;
                    if context.rng().unit() * tied < weight {
                        least = Some(contender);
                    }
                }
            }
        });
        match (least, drawn) {
            (Some(least), Some(drawn)) if least.beats(&drawn) => {
                observer.say(|| {
                    let [least, drawn] =
                        [least, drawn].map(|one| Brief::name(one.candidate.name()));
                    format!("draws {drawn} by weight, and {least} is better for its weight")
                });
                Some(least.candidate)
            }
            (least, drawn) => {
                if let Some(drawn) = &drawn {
                    observer.say(|| {
                        let name = Brief::name(drawn.candidate.name());
                        format!("draws {name} by weight, and no other is better for its weight")
                    });
                }
                drawn.or(least).map(|contender| contender.candidate)
            }
        }
    }

    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("least loaded");
        let len = self.candidates.len();
        if len < 2 {
            observer.say(|| "there is no choice".to_owned());
            return self.candidates.get(0);
        }
        observer.say(|| match self.scan_up_to {
            most if most < len => format!("compares the loads of {most} of {len}"),
            _ => format!("compares the loads of all {len}"),
        });
        let found = match self.sampler {
            Sampler::Uniform(_) => self.least_of_equals(context, observer),
            Sampler::Weighted(_) => self.least_for_weight(context, observer),
        };
        // None within the ranges may have been accepted, although others would be.
        found.or_else(|| {
            observer.say(|| "searches all from a random one on".to_owned());
            self.candidates.fallback(context)
        })
    }
}

impl<L: Load, Req> Pick<Req> for LeastLoadedPicker<L> {
    observed_pick!(without Req);
}
