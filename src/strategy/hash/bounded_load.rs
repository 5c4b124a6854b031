use std::{cell::OnceCell, sync::Arc};

use crate::{
    ConfigError,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rank, Strategy,
        explain::{Observe, observed_pick},
    },
};

/// Consistent hashing with bounded loads: a key's requests go to its first endpoint until that has
/// more than its fair share of all requests in flight, and then to the next in the key's rank.
///
/// The bound of an endpoint is `factor` x (requests in flight, this one included) x weight / sum of
/// the weights, rounded up. A key that is hotter than one endpoint can take spills over to the
/// second, the third and so on, always in the same order. Other keys stay at their first endpoints
/// as long as those have room. Requests in flight are those of this balancer. Simultaneous picks do
/// not count each other's request, and may exceed the bound by their number.
///
/// Some endpoints have been tried already or have no room. If none of the others is within its
/// bound, the request goes to the one that has the least in flight for its weight.
///
/// An endpoint with nothing in flight is always within its bound. For any other, a pick adds up the
/// requests in flight, endpoint by endpoint, until the sum decides; at worst it looks at all.
///
/// Source: Mirrokni, Thorup and Zadimoghaddam (2016). Over [`Maglev`](crate::strategy::Maglev) and
/// [`Rendezvous`](crate::strategy::Rendezvous) each key spills over in an order of its own, so that
/// a hot key's load does not pile up on a neighbour: Chen et al. (2019), "Revisiting consistent
/// hashing with bounded loads".
///
/// ```
/// use tower_lb::strategy::{BoundedLoad, Maglev, stable_hash};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let by_path = Maglev::new(|path: &String| Some(stable_hash(path)));
/// let strategy = BoundedLoad::new(by_path, 1.25)?;
/// # let _ = strategy; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct BoundedLoad<S> {
    inner: S,
    factor: f64,
}

impl<S> BoundedLoad<S> {
    /// Bounds the loads of what `inner` picks. The pickers of `inner` must [`Rank`] their
    /// candidates.
    ///
    /// 1.25 is a good `factor`. A smaller one makes the load more even and keeps fewer requests at
    /// the first endpoint of their key.
    ///
    /// # Errors
    ///
    /// If `factor` is not a finite number above 1.
    pub fn new(inner: S, factor: f64) -> Result<Self, ConfigError> {
        let valid = factor > 1.0 && factor.is_finite();
        ConfigError::unless(valid, "factor", factor, "a finite number above 1, such as 1.25")?;
        Ok(Self { inner, factor })
    }
}

impl<S: Strategy> Strategy for BoundedLoad<S> {
    type Picker = BoundedLoadPicker<S::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let built = self.inner.build(candidates, context);
        let candidates = built.eligible.clone();
        let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight())).sum();
        let (factor, total_weight) = (self.factor, total as f64);
        built.map(|inner| BoundedLoadPicker { inner, candidates, factor, total_weight })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// The picker of [`BoundedLoad`].
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <BoundedLoad<S> as Strategy>::Picker")]
pub struct BoundedLoadPicker<P> {
    inner: P,
    candidates: Candidates,
    factor: f64,
    total_weight: f64,
}

impl<P> BoundedLoadPicker<P> {
    fn is_within_bound(&self, candidate: &Candidate, in_flight: &mut InFlight<'_>) -> bool {
        let own = f64::from(candidate.stats().outstanding());
        // own < factor * (all + 1) * weight / total_weight, solved for all.
        let weight = f64::from(candidate.weight());
        in_flight.exceeds(own * self.total_weight / (self.factor * weight) - 1.0)
    }

    /// Returns the highest-ranking of those accepted candidates that have the least in flight for
    /// their weight.
    #[cold]
    fn least_overloaded<Req>(
        &self,
        hash: u64,
        accepts: impl Fn(&Candidate) -> bool,
    ) -> Option<&Candidate>
    where
        P: Rank<Req>,
    {
        let load = |candidate: &Candidate| {
            f64::from(candidate.stats().outstanding()) / f64::from(candidate.weight())
        };
        let accepted = self.candidates.iter().filter(|candidate| accepts(candidate));
        let least = accepted.map(load).min_by(f64::total_cmp)?;
        self.inner
            .highest(hash, |candidate| accepts(candidate) && load(candidate) <= least)
            // The load of that candidate may have risen since it was read.
            .or_else(|| self.inner.highest(hash, &accepts))
    }
}

impl<P> BoundedLoadPicker<P> {
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Rank<Req>,
    {
        let hash = self.inner.hash(request, context.rng());
        observer.step("bounded load");
        observer.say(|| {
            let factor = self.factor;
            format!(
                "the first of the key's rank within {factor} times its fair share; \
                 a score above 1 exceeds that"
            )
        });
        let accepts = |candidate: &Candidate| context.accepts(candidate);
        let mut in_flight = InFlight::at(&self.candidates);
        let all = OnceCell::new();
        self.inner
            .highest(hash, |candidate| {
                if !accepts(candidate) {
                    return false;
                }
                let within = self.is_within_bound(candidate, &mut in_flight);
                observer.compare(candidate, || {
                    let outstanding = |one: &Candidate| u64::from(one.stats().outstanding());
                    let sum = || self.candidates.iter().map(outstanding).sum();
                    self.share_of_bound(candidate, *all.get_or_init(sum))
                });
                within
            })
            .or_else(|| {
                observer.say(|| "all exceed it, the least loaded for its weight wins".to_owned());
                self.least_overloaded(hash, accepts)
            })
            .or_else(|| self.least_overloaded(hash, |candidate| context.has_room(candidate)))
    }

    /// Returns the requests in flight with this one, as a part of the bound.
    fn share_of_bound(&self, candidate: &Candidate, all: u64) -> f64 {
        let fair = (all as f64 + 1.0) * f64::from(candidate.weight());
        let bound = (self.factor * fair / self.total_weight).ceil();
        (f64::from(candidate.stats().outstanding()) + 1.0) / bound
    }
}

impl<P: Rank<Req>, Req> Pick<Req> for BoundedLoadPicker<P> {
    observed_pick!(Req);
}

/// The requests in flight at all candidates, added up only as far as a comparison needs.
struct InFlight<'a> {
    candidates: &'a Candidates,
    /// How many candidates `sum` includes.
    seen: usize,
    sum: u64,
}

impl<'a> InFlight<'a> {
    fn at(candidates: &'a Candidates) -> Self {
        Self { candidates, seen: 0, sum: 0 }
    }

    fn exceeds(&mut self, limit: f64) -> bool {
        while self.sum as f64 <= limit {
            let Some(candidate) = self.candidates.get(self.seen) else { return false };
            self.sum += u64::from(candidate.stats().outstanding());
            self.seen += 1;
        }
        true
    }
}
