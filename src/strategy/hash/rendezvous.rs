use std::sync::Arc;

use super::{hash_order::HashOrder, rank};
use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, HashKey, Pick, PickContext, Rank, Rng, Strategy,
    },
};

/// Rendezvous hashing, or highest random weight: each endpoint draws a lot for the key, and the best
/// lot gets the request.
///
/// The hash that moves the fewest keys there is: when an endpoint goes, its keys go to where each
/// ranks next, by weight, and no other key moves; when one comes, or its weight rises, keys move only
/// to it. Shares are those of the weights, whatever they are, and it takes no memory. The price is
/// time: a pick looks at all endpoints.
///
/// An endpoint is known by its name, or by its label `hash_key` if it has one. Of several with the
/// same label the heaviest gets all the keys, the first by name if they are alike.
///
/// Source: Thaler and Ravishankar (1996); for weights, the least of -ln(u) / weight wins, as in
/// Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005). Where we differ from
/// Envoy: the logarithm is made of integers and off by at most 0.05 %, not 1 %, and ties go by
/// the draw.
#[derive(Clone, Debug)]
pub struct Rendezvous<K> {
    key: Arc<K>,
}

impl<K> Rendezvous<K> {
    /// Sends requests of the same key to the same endpoint.
    pub fn new(key: K) -> Self {
        Self { key: Arc::new(key) }
    }
}

impl<K> Strategy for Rendezvous<K> {
    type Picker = RendezvousPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let places = HashOrder::new(candidates);
        Built::new(RendezvousPicker { places, key: Arc::clone(&self.key) }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// The picker of [`Rendezvous`].
#[derive(Debug)]
pub struct RendezvousPicker<K> {
    places: HashOrder,
    key: Arc<K>,
}

impl<K: HashKey<Req>, Req> Rank<Req> for RendezvousPicker<K> {
    #[inline]
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64 {
        rank::hash(&*self.key, request, rng)
    }

    fn highest(&self, hash: u64, accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        self.places.draw(hash, accepts)
    }
}

impl<K: HashKey<Req>, Req> Pick<Req> for RendezvousPicker<K> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        rank::pick(self, request, context)
    }
}
