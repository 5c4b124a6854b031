use std::{
    collections::HashSet,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::poll_updates;
use crate::discover::{Discover, Update};

adapter! {
    /// Keeps the last endpoints when the source reports an empty set. The stream of
    /// [`DiscoverExt::keep_last_good`](crate::discover::DiscoverExt::keep_last_good).
    ///
    /// An update that leaves no endpoint is dropped. The next update replaces the kept endpoints as
    /// one change.
    pub struct KeepLastGood<D>() {
        // The endpoints of the source.
        known: HashSet<D::Key> = HashSet::new(),
        // The source has no endpoint, and the endpoints that were passed on last are kept.
        keeping: bool = false,
    }
}

impl<D: Discover<Key: Clone + Eq + Hash>> Stream for KeepLastGood<D> {
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        poll_updates(this.discover, cx, |update| {
            let had_some = !this.known.is_empty();
            match &update {
                Update::Insert(key, _) => _ = this.known.insert(key.clone()),
                Update::Remove(key) => _ = this.known.remove(key),
                Update::Reset(all) => {
                    *this.known = all.iter().map(|(key, _)| key.clone()).collect()
                }
            }
            if this.known.is_empty() {
                if had_some {
                    *this.keeping = true;
                    tracing::warn!("the source has no endpoints; the last endpoints are kept");
                }
                if *this.keeping {
                    return None;
                }
            }
            Some(match (update, std::mem::take(this.keeping)) {
                // The kept endpoints are no longer in the source, so an insertion must remove them.
                (Update::Insert(key, endpoint), true) => Update::Reset(vec![(key, endpoint)]),
                (update, _) => update,
            })
        })
    }
}
