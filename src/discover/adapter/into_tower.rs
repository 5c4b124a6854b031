use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tower::discover::Change;

use crate::{
    discover::{Discover, Update},
    endpoint::Endpoint,
};

adapter! {
    /// The stream of [`DiscoverExt::into_tower`](crate::discover::DiscoverExt::into_tower).
    pub struct IntoTower<D>() {
        // The keys of the endpoints that tower has.
        shown: HashSet<D::Key> = HashSet::new(),
        queue: VecDeque<Change<D::Key, D::Target>> = VecDeque::new(),
    }
}

impl<D: Discover<Key: Clone + Eq + Hash>> Stream for IntoTower<D> {
    type Item = Result<Change<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(change) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(update) = ready!(this.discover.as_mut().poll_discover(cx)) else {
                return Poll::Ready(None);
            };
            match update? {
                Update::Insert(key, endpoint) => {
                    this.queue.extend(show(this.shown, key, Some(endpoint)));
                }
                Update::Remove(key) => this.queue.extend(show(this.shown, key, None)),
                Update::Reset(endpoints) => {
                    let mut endpoints: HashMap<_, _> = endpoints.into_iter().collect();
                    let gone: Vec<_> = this
                        .shown
                        .iter()
                        .filter(|key| !endpoints.contains_key(key))
                        .cloned()
                        .collect();
                    let gone = gone.into_iter().map(|key| (key, None));
                    let there = endpoints.drain().map(|(key, endpoint)| (key, Some(endpoint)));
                    let all = gone.chain(there);
                    this.queue.extend(all.filter_map(|(key, to)| show(this.shown, key, to)));
                }
            }
        }
    }
}

/// Returns the change that is needed so that tower has the endpoint if and only if it is eligible.
fn show<K, T>(shown: &mut HashSet<K>, key: K, endpoint: Option<Endpoint<T>>) -> Option<Change<K, T>>
where
    K: Clone + Eq + Hash,
{
    match endpoint.filter(|endpoint| endpoint.is_eligible()) {
        Some(endpoint) => {
            shown.insert(key.clone());
            Some(Change::Insert(key, endpoint.into_parts().0))
        }
        None => shown.remove(&key).then_some(Change::Remove(key)),
    }
}
