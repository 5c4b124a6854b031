use std::{
    collections::HashSet,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::time::Instant;

use super::poll_updates;
use crate::{
    discover::{Discover, Update},
    log_limit::LogLimit,
};

adapter! {
    /// Keeps the last endpoints when the source reports an empty set. The stream of
    /// [`DiscoverExt::keep_last_good`](crate::discover::DiscoverExt::keep_last_good).
    ///
    /// An update that leaves no endpoint is dropped. The next update replaces the kept endpoints as
    /// one change.
    pub struct KeepLastGood<D>() {
        // The endpoints of the source.
        known: HashSet<D::Key> = HashSet::new(),
        // Since when the source has no endpoint, and the endpoints that were passed on last are
        // kept.
        keeping: Option<Instant> = None,
        // For a source that fails at every other poll.
        log: LogLimit = LogLimit::default(),
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
                    *this.keeping = Some(Instant::now());
                    if let Some(suppressed) = this.log.pass() {
                        tracing::warn!(
                            suppressed,
                            "the source has no endpoints; the last endpoints are kept"
                        );
                    }
                }
                if this.keeping.is_some() {
                    return None;
                }
            }
            let kept_since = this.keeping.take();
            if let Some(since) = kept_since {
                tracing::debug!(lasted = ?since.elapsed(), "the source has endpoints again");
            }
            Some(match (update, kept_since) {
                // The kept endpoints are no longer in the source, so an insertion must remove them.
                (Update::Insert(key, endpoint), Some(_)) => Update::Reset(vec![(key, endpoint)]),
                (update, _) => update,
            })
        })
    }
}
