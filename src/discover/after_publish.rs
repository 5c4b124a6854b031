use std::{
    cmp::Ordering,
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use super::{Discover, Update};
use crate::{
    capacity::shrunk,
    endpoint::{Endpoint, Health},
};

/// A target that learns what becomes of its endpoint.
pub(crate) trait Informed: Clone {
    /// What it learns, from the best to the worst.
    type Standing: Copy + Ord;

    /// The standing after the endpoint was removed.
    const REMOVED: Self::Standing;

    /// Returns the standing of an endpoint with this health.
    fn standing_of(health: &Health) -> Self::Standing;

    /// Returns true if both are clones of the same target.
    fn is_same(&self, other: &Self) -> bool;

    /// Informs the target, and so its flows, of its present standing.
    fn inform(&self, standing: Self::Standing);
}

pin_project_lite::pin_project! {
    /// Passes on all updates, and informs the targets of what becomes of their endpoints.
    ///
    /// A flow that learns of a worse standing picks again at once, so the balancer must have
    /// published the change by then: otherwise the flow picks the same target. A better standing is
    /// not delayed, so that a flow never picks a recovered target that still seems to be worse.
    pub(crate) struct AfterPublish<D, K, T: Informed> {
        #[pin]
        discover: D,
        known: Known<K, T>,
        // The balancer publishes what it got, before it polls again.
        publishing: bool,
    }
}

/// The targets by key, and what they are to learn, in order.
struct Known<K, T: Informed> {
    targets: HashMap<K, KnownTarget<T>>,
    changes: Vec<(T, T::Standing)>,
    /// How often `changes` has been emptied.
    rounds: u64,
}

struct KnownTarget<T: Informed> {
    target: T,
    standing: T::Standing,
    /// The round in which the target last got worse.
    worse_in: Option<u64>,
}

impl<D, K, T: Informed> AfterPublish<D, K, T> {
    pub(crate) fn new(discover: D) -> Self {
        let known = Known { targets: HashMap::new(), changes: Vec::new(), rounds: 0 };
        Self { discover, known, publishing: false }
    }

    pub(crate) fn discover(&self) -> &D {
        &self.discover
    }
}

impl<K: Clone + Eq + Hash, T: Informed> Known<K, T> {
    fn apply(&mut self, update: &Update<K, T>) {
        match update {
            Update::Insert(key, endpoint) => {
                let before = self.targets.remove(key);
                self.insert(key, endpoint, before);
            }
            Update::Remove(key) => {
                let removed = self.targets.remove(key);
                self.changes.extend(removed.map(KnownTarget::removed));
                if let Some(capacity) = shrunk(self.targets.len(), self.targets.capacity()) {
                    self.targets.shrink_to(capacity);
                }
            }
            Update::Reset(endpoints) => {
                let mut before = std::mem::take(&mut self.targets);
                for (key, endpoint) in endpoints {
                    // Of endpoints with the same key, the last counts.
                    let before = self.targets.remove(key).or_else(|| before.remove(key));
                    self.insert(key, endpoint, before);
                }
                self.changes.extend(before.into_values().map(KnownTarget::removed));
            }
        }
    }

    fn insert(&mut self, key: &K, endpoint: &Endpoint<T>, before: Option<KnownTarget<T>>) {
        let (target, standing) = (endpoint.target(), T::standing_of(endpoint.health()));
        let mut worse_in = None;
        match before {
            Some(before) if before.target.is_same(target) => {
                worse_in = before.worse_in;
                match standing.cmp(&before.standing) {
                    Ordering::Equal => {}
                    // What it is to learn comes in order.
                    Ordering::Less if worse_in == Some(self.rounds) => {
                        self.changes.push((before.target, standing));
                    }
                    Ordering::Less => target.inform(standing),
                    Ordering::Greater => {
                        worse_in = Some(self.rounds);
                        self.changes.push((before.target, standing));
                    }
                }
            }
            replaced => {
                self.changes.extend(replaced.map(KnownTarget::removed));
                // No flow has the new target yet.
                target.inform(standing);
            }
        }
        let known = KnownTarget { target: target.clone(), standing, worse_in };
        self.targets.insert(key.clone(), known);
    }

    fn inform(&mut self) {
        self.rounds += 1;
        for (target, standing) in std::mem::take(&mut self.changes) {
            target.inform(standing);
        }
    }
}

impl<T: Informed> KnownTarget<T> {
    fn removed(self) -> (T, T::Standing) {
        (self.target, T::REMOVED)
    }
}

impl<D, K, T> Stream for AfterPublish<D, K, T>
where
    D: Discover<Key = K, Target = T>,
    K: Clone + Eq + Hash,
    T: Informed,
{
    type Item = Result<Update<K, T>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if std::mem::take(this.publishing) {
            this.known.inform();
        }
        let update = this.discover.poll_discover(cx);
        match &update {
            Poll::Ready(Some(Ok(update))) => this.known.apply(update),
            Poll::Ready(Some(Err(_))) => {}
            // It is not polled again.
            Poll::Ready(None) => this.known.inform(),
            // A driver publishes when it has got all that there is. Then it polls again.
            Poll::Pending if !this.known.changes.is_empty() => {
                *this.publishing = true;
                cx.waker().wake_by_ref();
            }
            Poll::Pending => {}
        }
        update
    }
}
