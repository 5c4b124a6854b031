use std::{
    collections::HashSet,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::{known::Known, poll_updates};
use crate::{
    discover::{Discover, Update},
    endpoint::Endpoint,
};

adapter! {
    /// Passes on the endpoints for which a function returns true. The stream of
    /// [`DiscoverExt::filter_endpoints`](crate::discover::DiscoverExt::filter_endpoints).
    ///
    /// An endpoint is removed when it changes and the function returns false.
    pub struct FilterEndpoints<D, F>(wanted: F) {
        // The keys of the endpoints that were passed on.
        shown: HashSet<D::Key> = HashSet::new(),
    }
}

impl<D: Discover<Key: Clone + Eq + Hash>, F: FnMut(&D::Key, &Endpoint<D::Target>) -> bool> Stream
    for FilterEndpoints<D, F>
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        poll_updates(this.discover, cx, |update| match update {
            Update::Insert(key, endpoint) if (this.wanted)(&key, &endpoint) => {
                this.shown.insert(key.clone());
                Some(Update::Insert(key, endpoint))
            }
            Update::Insert(key, _) | Update::Remove(key) => {
                this.shown.remove(&key).then_some(Update::Remove(key))
            }
            Update::Reset(all) => {
                // Of duplicates the last is used, also if it is not wanted.
                let mut all: Known<_, _> = all.into_iter().collect();
                all.retain(|key, endpoint| (this.wanted)(key, endpoint));
                *this.shown = all.keys().cloned().collect();
                Some(Update::Reset(all.into_iter().collect()))
            }
        })
    }
}
