use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::known::Known;
use crate::discover::{Discover, Update};

/// The largest number of rounds in one poll, so that sources whose updates are hidden by other
/// sources do not block the thread.
const MAX_ROUNDS_PER_POLL: usize = 2048;

/// Merges the endpoints of several sources into one set.
///
/// If several sources have an endpoint with the same key, the endpoint of the first source in the
/// list is used. When that source removes it, the endpoint of the next source replaces it. To use
/// both, make the keys different with [`map_keys`](crate::discover::DiscoverExt::map_keys). Use
/// [`erase`](crate::discover::DiscoverExt::erase) for sources of different types.
///
/// An error of a source is passed on and changes no endpoint. The endpoints of a source that has
/// ended stay. The stream ends when all sources have ended.
pub fn merge<D: Discover>(sources: impl IntoIterator<Item = D>) -> Merge<D> {
    let sources = sources
        .into_iter()
        .map(|source| Source { stream: Some(Box::pin(source)), known: Known::new() });
    Merge { sources: sources.collect(), next_source: 0 }
}

/// The stream of [`merge`].
pub struct Merge<D: Discover> {
    sources: Vec<Source<D>>,
    /// The source that is polled first. It changes, so that a busy source does not starve the
    /// others.
    next_source: usize,
}

struct Source<D: Discover> {
    /// `None` if the source has ended.
    stream: Option<Pin<Box<D>>>,
    known: Known<D::Key, D::Target>,
}

impl<D: Discover> Unpin for Merge<D> {}

impl<D: Discover<Key: Clone + Eq + Hash, Target: Clone>> Merge<D> {
    /// Applies an update of a source, and returns the change of the merged set.
    fn apply(
        &mut self,
        source: usize,
        update: Update<D::Key, D::Target>,
    ) -> Option<Update<D::Key, D::Target>> {
        // An earlier source has the key.
        let hidden = |sources: &[Source<D>], key| {
            sources[..source].iter().any(|source| source.known.contains_key(key))
        };
        match update {
            Update::Insert(key, endpoint) => {
                self.sources[source].known.insert(key.clone(), endpoint.clone());
                (!hidden(&self.sources, &key)).then_some(Update::Insert(key, endpoint))
            }
            Update::Remove(key) => {
                self.sources[source].known.swap_remove(&key)?;
                if hidden(&self.sources, &key) {
                    return None;
                }
                let next = self.sources[source..].iter().find_map(|next| next.known.get(&key));
                Some(match next.cloned() {
                    Some(endpoint) => Update::Insert(key, endpoint),
                    None => Update::Remove(key),
                })
            }
            Update::Reset(endpoints) => {
                self.sources[source].known = endpoints.into_iter().collect();
                let mut all = Known::new();
                for (key, endpoint) in self.sources.iter().flat_map(|source| &source.known) {
                    all.entry(key.clone()).or_insert_with(|| endpoint.clone());
                }
                Some(Update::Reset(all.into_iter().collect()))
            }
        }
    }
}

impl<D: Discover<Key: Clone + Eq + Hash, Target: Clone>> Stream for Merge<D> {
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        for _ in 0..MAX_ROUNDS_PER_POLL {
            let mut progress = false;
            let count = self.sources.len();
            let first = self.next_source;
            for position in (0..count).map(|step| (first + step) % count) {
                let Some(stream) = &mut self.sources[position].stream else { continue };
                let Poll::Ready(next) = stream.as_mut().poll_discover(cx) else { continue };
                (self.next_source, progress) = (position + 1, true);
                match next {
                    None => self.sources[position].stream = None,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(update)) => {
                        if let Some(update) = self.apply(position, update) {
                            return Poll::Ready(Some(Ok(update)));
                        }
                    }
                }
            }
            if !progress {
                let ended = self.sources.iter().all(|source| source.stream.is_none());
                return if ended { Poll::Ready(None) } else { Poll::Pending };
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<D: Discover + fmt::Debug> fmt::Debug for Merge<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources.iter().map(|source| (&source.stream, source.known.len()));
        f.debug_list().entries(sources).finish()
    }
}
