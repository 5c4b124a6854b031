use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use pin_project_lite::pin_project;

use super::{
    known::{self, Known},
    poll_updates,
};
use crate::discover::{Discover, Update};

pin_project! {
    /// Drops updates that change nothing. The stream of
    /// [`DiscoverExt::dedup`](crate::discover::DiscoverExt::dedup).
    pub struct Dedup<D: Discover> {
        #[pin]
        discover: D,
        known: Known<D::Key, D::Target>,
    }
}

impl<D: Discover> Dedup<D> {
    pub(crate) fn new(discover: D) -> Self {
        Self { discover, known: Known::new() }
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

impl<D: Discover + fmt::Debug> fmt::Debug for Dedup<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup").field("discover", &self.discover).finish_non_exhaustive()
    }
}
