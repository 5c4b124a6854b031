use std::{fmt, sync::Arc};

use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Rank, Strategy},
};

/// Consistent hashing with bounded loads: a key's home gets its requests until it has more than its
/// fair share of all that are in flight; then the next in the key's rank does.
///
/// The bound of an endpoint is `factor` x (requests in flight, this one included) x weight / all
/// weights, rounded up. So a key that is hotter than an endpoint can take spills over to the second, the
/// third and so on, in an order that is the same each time, and other keys stay at their homes as long
/// as those have room. Requests in flight are those of this balancer. Picks at the very same moment
/// don't see each other's request and may exceed the bound by as many.
///
/// With endpoints that were tried already or have no room, it may be that none within its bound is
/// left: then it is the one that has the least in flight for its weight.
///
/// An endpoint with nothing in flight is always within its bound; otherwise a pick looks at the
/// endpoints' figures until it has seen enough in flight, at all of them at the most.
///
/// Source: Mirrokni, Thorup and Zadimoghaddam (2016). Over [`Maglev`](crate::strategy::Maglev) and
/// [`Rendezvous`](crate::strategy::Rendezvous) each key has an order of its own to spill over in, so that a
/// hot key's load doesn't pile up on a neighbour: Chen et al. (2019), "Revisiting consistent hashing
/// with bounded loads".
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
    /// Bounds what the pickers of `inner` pick, which must [`Rank`] their candidates. 1.25 is a good
    /// factor; the smaller, the more even the load and the less affinity is left.
    ///
    /// # Errors
    ///
    /// If the factor is not a number above 1.
    pub fn new(inner: S, factor: f64) -> Result<Self, InvalidFactor> {
        let valid = factor > 1.0 && factor.is_finite();
        if valid { Ok(Self { inner, factor }) } else { Err(InvalidFactor { factor }) }
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
        let weights: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight())).sum();
        let (factor, weights) = (self.factor, weights as f64);
        built.map(|inner| BoundedLoadPicker { inner, candidates, factor, weights })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// The picker of [`BoundedLoad`].
#[derive(Debug)]
pub struct BoundedLoadPicker<P> {
    inner: P,
    candidates: Candidates,
    factor: f64,
    /// All together.
    weights: f64,
}

impl<P> BoundedLoadPicker<P> {
    fn is_within_bound(&self, candidate: &Candidate, in_flight: &mut InFlight<'_>) -> bool {
        let own = f64::from(candidate.stats().outstanding());
        // own < factor * (all + 1) * weight / weights, solved for all.
        let weight = f64::from(candidate.weight());
        in_flight.exceed(own * self.weights / (self.factor * weight) - 1.0)
    }

    /// Of those accepted, one that has the least in flight for its weight.
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
            // Somebody's load has just changed.
            .or_else(|| self.inner.highest(hash, &accepts))
    }
}

impl<P: Rank<Req>, Req> Pick<Req> for BoundedLoadPicker<P> {
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let hash = self.inner.hash(request, context.rng());
        let accepts = |candidate: &Candidate| context.accepts(candidate);
        let mut in_flight = InFlight::at(&self.candidates);
        self.inner
            .highest(hash, |candidate| {
                accepts(candidate) && self.is_within_bound(candidate, &mut in_flight)
            })
            .or_else(|| self.least_overloaded(hash, accepts))
            .or_else(|| self.least_overloaded(hash, |candidate| context.has_room(candidate)))
    }
}

/// Requests in flight at all candidates, added up as far as anybody needs to know.
struct InFlight<'a> {
    candidates: &'a Candidates,
    seen: usize,
    sum: u64,
}

impl<'a> InFlight<'a> {
    fn at(candidates: &'a Candidates) -> Self {
        Self { candidates, seen: 0, sum: 0 }
    }

    fn exceed(&mut self, limit: f64) -> bool {
        while self.sum as f64 <= limit {
            let Some(candidate) = self.candidates.get(self.seen) else { return false };
            self.sum += u64::from(candidate.stats().outstanding());
            self.seen += 1;
        }
        true
    }
}

/// A factor that bounds no load: below or equal to 1, or no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidFactor {
    factor: f64,
}

impl fmt::Display for InvalidFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factor = self.factor;
        write!(
            f,
            "load can't be bounded by {factor} times the fair share: take a number above 1, such as 1.25"
        )
    }
}

impl std::error::Error for InvalidFactor {}
