use std::{
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::{
    known::{self, Known},
    poll_updates,
};
use crate::discover::{Discover, Update};

adapter! {
    /// Drops updates that change nothing. The stream of
    /// [`DiscoverExt::dedup`](crate::discover::DiscoverExt::dedup).
    pub struct Dedup<D>() {
        known: Known<D::Key, D::Target> = Known::new(),
    }
}

impl<D: Discover<Key: Clone + Eq + Hash, Target: Clone + PartialEq>> Stream for Dedup<D> {
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        poll_updates(this.discover, cx, |update| {
            let key = match &update {
                Update::Insert(key, _) | Update::Remove(key) => Some(key.clone()),
                Update::Reset(_) => None,
            };
            // Built from the known endpoints, which keep their statistics.
            known::apply(this.known, update).then(|| match key {
                None => known::reset(this.known),
                Some(key) => match this.known.get(&key) {
                    Some(endpoint) => Update::Insert(key, endpoint.clone()),
                    None => Update::Remove(key),
                },
            })
        })
    }
}
