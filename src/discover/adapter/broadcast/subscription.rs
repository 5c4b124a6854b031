use std::{
    collections::VecDeque,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::Stream;

use super::{
    BroadcastError,
    change_log::{Cursor, Missing},
    hub::Hub,
};
use crate::{
    discover::Update,
    endpoint::{Endpoint, EndpointStats},
};

/// The stream of one subscriber of a [`Broadcast`](super::Broadcast);
/// [`Broadcast::subscribe`](super::Broadcast::subscribe) makes one.
///
/// It takes adapters as every source does: a subscriber can filter, weight and
/// [subset](crate::discover::DiscoverExt::subset) the endpoints, connect them, or add stages of
/// [`health`](crate::health).
pub struct Subscription<K, T> {
    hub: Arc<Hub<K, T>>,
    number: u64,
    cursor: Cursor,
    /// The rest of a batch.
    queue: VecDeque<Update<K, T>>,
    stats: Stats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stats {
    Shared,
    Own,
}

impl<K, T> Subscription<K, T> {
    pub(super) fn new(hub: Arc<Hub<K, T>>) -> Self {
        let (number, cursor) = hub.subscribe();
        Self { hub, number, cursor, queue: VecDeque::new(), stats: Stats::Shared }
    }

    /// Gives the endpoints statistics of their own, which other subscribers do not share.
    ///
    /// The balancer then counts only its own requests, so that the metrics of several balancers can
    /// be added up. It takes 128 bytes more for each endpoint. Stages of
    /// [`health`](crate::health) that learn from requests must then be after the broadcast.
    ///
    /// ```
    /// use tower_lb::{
    ///     Balancer,
    ///     discover::{self, Broadcast, DiscoverExt},
    ///     strategy::P2c,
    /// };
    /// # use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let endpoints = discover::addresses(["10.0.0.1:80"])
    ///     .connect(|_| service_fn(|()| async { Ok::<_, std::io::Error>(()) }));
    /// let endpoints = Broadcast::spawn(endpoints);
    /// let first = Balancer::spawn(P2c::default(), endpoints.subscribe().with_own_stats());
    /// let second = Balancer::spawn(P2c::default(), endpoints.subscribe().with_own_stats());
    ///
    /// first.clone().oneshot(()).await?;
    /// second.clone().oneshot(()).await?;
    /// assert_eq!(first.status().endpoints[0].outcomes.success, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_own_stats(mut self) -> Self {
        self.stats = Stats::Own;
        self
    }
}

impl Stats {
    fn of<T>(self, endpoint: Endpoint<T>) -> Endpoint<T> {
        match self {
            Self::Shared => endpoint,
            Self::Own => endpoint.with_stats(Arc::new(EndpointStats::new())),
        }
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Stream for Subscription<K, T> {
    type Item = Result<Update<K, T>, BroadcastError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let update = match this.queue.pop_front() {
            Some(update) => update,
            None => {
                let (number, cursor) = (this.number, &mut this.cursor);
                match ready!(this.hub.poll_missing(number, cursor, cx.waker())) {
                    None => return Poll::Ready(None),
                    Some(Missing::Error(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Missing::Changes(first, rest)) => {
                        this.queue = rest;
                        first
                    }
                    Some(Missing::All(all)) => all.into_reset(),
                }
            }
        };
        let stats = this.stats;
        Poll::Ready(Some(Ok(update.map(|key| key, |_, endpoint| stats.of(endpoint)))))
    }
}

impl<K, T> Unpin for Subscription<K, T> {}

impl<K, T> Drop for Subscription<K, T> {
    fn drop(&mut self) {
        self.hub.unsubscribe(self.number);
    }
}

impl<K, T> fmt::Debug for Subscription<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("number", &self.number)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
