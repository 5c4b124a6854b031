use std::sync::Arc;

use super::{
    hash_order::HashOrder,
    hash_picker::{HashPicker, Table},
};
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, Strategy},
};

/// Rendezvous hashing, also known as highest random weight: each endpoint draws a score for the
/// key, and the endpoint with the best score gets the request.
///
/// No hash moves fewer keys. When an endpoint is removed, each of its keys goes to the endpoint
/// that ranks next for the key, and no other key moves. When an endpoint is added, or its weight
/// rises, keys move only to it. Shares are exactly those of the weights, and no table is stored.
/// The price is time: a pick looks at all endpoints.
///
/// An endpoint is identified by its label `hash_key`, or by its name if it has no such label. Of
/// several with the same label, the heaviest gets all the keys; of equal weights, the first by
/// name.
///
/// Source: Thaler and Ravishankar (1996). For weights, the least -ln(u) / weight wins, as in
/// Schindelhauer and Schomaker, "Weighted distributed hash tables" (2005). Where this differs from
/// Envoy: the logarithm is computed in integers and is off by at most 0.05 %, not 1 %, and ties are
/// decided by the draw.
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
    type Picker = HashPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<HashPicker<K>> {
        let (order, key) = (HashOrder::new(candidates), Arc::clone(&self.key));
        Built::new(HashPicker { key, order, table: Table::Rendezvous }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}
