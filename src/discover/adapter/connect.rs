use std::{
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use indexmap::IndexMap;

use super::poll_updates;
use crate::{
    capacity::shrunk,
    discover::{Discover, Update},
    endpoint::{Endpoint, Origin},
};

adapter! {
    /// Turns targets into services with a function, which must not block. It is meant for clients
    /// that connect when they are first used. The stream of
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    ///
    /// An endpoint whose target stays the same keeps its service when attributes change. An update
    /// that changes nothing is dropped. The function is called again for a new target, and for an
    /// endpoint that is removed and added again; both start with new state in later stages and in
    /// the balancer.
    pub struct Connect<D, F, S>(connect: F) {
        known: HashMap<D::Key, Connected<D::Target, S>> = HashMap::new(),
    }
}

struct Connected<T, S> {
    /// As upstream sent it, with the statistics of the first version of this target.
    endpoint: Endpoint<T>,
    /// The origin of the service, which is not that of the target: if upstream adds a removed
    /// endpoint again, the target is the same and the service is another one.
    origin: Origin,
    service: S,
}

impl<T: PartialEq, S: Clone> Connected<T, S> {
    /// Connects an endpoint. It has the statistics, the origin and the service of `before` if the
    /// target is the same.
    fn from(endpoint: Endpoint<T>, before: Option<Self>, connect: impl FnOnce(&T) -> S) -> Self {
        let Some(before) = before else {
            let service = connect(endpoint.target());
            return Self { endpoint, origin: Origin::another(), service };
        };
        let is_equal = before.endpoint.target() == endpoint.target();
        let service = if is_equal { before.service } else { connect(endpoint.target()) };
        let endpoint = endpoint.succeeding(&before.endpoint);
        let is_same = endpoint.origin() == before.endpoint.origin();
        let origin = if is_same { before.origin } else { Origin::another() };
        Self { endpoint, origin, service }
    }

    fn endpoint(&self) -> Endpoint<S> {
        self.endpoint.as_ref().map(|_| self.service.clone()).with_origin(self.origin)
    }
}

impl<D: Discover<Key: Clone + Eq + Hash, Target: PartialEq>, F: FnMut(&D::Target) -> S, S: Clone>
    Stream for Connect<D, F, S>
{
    type Item = Result<Update<D::Key, S>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        poll_updates(this.discover, cx, |update| match update {
            Update::Insert(key, endpoint) => {
                let before = this.known.remove(&key);
                let changed =
                    before.as_ref().is_none_or(|old| endpoint.differs_from(&old.endpoint));
                let connected = Connected::from(endpoint, before, &mut *this.connect);
                let insert = Update::Insert(key.clone(), connected.endpoint());
                this.known.insert(key, connected);
                changed.then_some(insert)
            }
            Update::Remove(key) => {
                let removed = this.known.remove(&key);
                if let Some(capacity) = shrunk(this.known.len(), this.known.capacity()) {
                    this.known.shrink_to(capacity);
                }
                removed.map(|_| Update::Remove(key))
            }
            Update::Reset(endpoints) => {
                let mut before = std::mem::take(this.known);
                let known = before.len();
                let mut changed = false;
                // Of endpoints with the same key, the last counts.
                for (key, endpoint) in endpoints.into_iter().collect::<IndexMap<_, _>>() {
                    let before = before.remove(&key);
                    changed |=
                        before.as_ref().is_none_or(|old| endpoint.differs_from(&old.endpoint));
                    let connected = Connected::from(endpoint, before, &mut *this.connect);
                    this.known.insert(key, connected);
                }
                let all = this.known.iter().map(|(key, now)| (key.clone(), now.endpoint()));
                let reset = Update::Reset(all.collect());
                (changed || this.known.len() != known).then_some(reset)
            }
        })
    }
}
