use std::{fmt, hash::Hash, sync::Arc};

use super::{BroadcastDriver, Subscription, hub::Hub};
use crate::{BoxError, discover::Discover};

/// The endpoints of one source for many balancers.
/// [`DiscoverExt::broadcast`](crate::discover::DiscoverExt::broadcast) makes one.
///
/// Each [`Subscription`] is a stream of endpoints, for one balancer. It begins with the whole set,
/// at whatever time it subscribes. Clones refer to the same source. The source is dropped when the
/// last clone and the last subscription are dropped.
///
/// # What balancers share
///
/// Each subscriber gets clones of the source's endpoints.
///
/// | of an endpoint | shared by all balancers |
/// |---|---|
/// | labels, locality, health | yes |
/// | the service | its clones, if [`connect`] or [`make`] is before the broadcast; otherwise each balancer connects |
/// | [statistics](crate::endpoint::EndpointStats) | yes, unless the subscription has its [own](Subscription::with_own_stats) |
/// | stages of [`health`](crate::health) before the broadcast | yes; they learn from the requests of all balancers |
/// | stages after the broadcast | no; each balancer has its own |
/// | strategy, `max_outstanding`, durations | no |
///
/// Shared statistics mean that a balancer sees the requests in flight and the failures of all
/// balancers, and that the status of each shows the counts of all. An endpoint keeps its statistics
/// if a stage before the broadcast compares targets, as polled sources, `connect`, `make` and
/// [`dedup`] do. Put `dedup` after a [`channel`](crate::discover::channel) of addresses.
///
/// [`connect`]: crate::discover::DiscoverExt::connect
/// [`make`]: crate::discover::DiscoverExt::make
/// [`dedup`]: crate::discover::DiscoverExt::dedup
///
/// # Slow subscribers
///
/// A subscriber that is not polled delays no other one. The broadcast keeps as many changes as
/// there are endpoints, but at least 64, for all subscribers together. A subscriber that lacks some
/// of these gets the newest version of each changed endpoint. A subscriber that lacks more gets the
/// whole set. Of several errors, a slow subscriber gets the last one.
pub struct Broadcast<K, T> {
    hub: Arc<Hub<K, T>>,
}

impl<K, T> Broadcast<K, T>
where
    K: Clone + Eq + Hash,
    T: Clone,
{
    pub(crate) fn new<D>(discover: D) -> (Self, BroadcastDriver<D>)
    where
        D: Discover<Key = K, Target = T>,
    {
        let hub = Arc::new(Hub::new());
        let driver = BroadcastDriver::new(discover, &hub);
        (Self { hub }, driver)
    }

    /// Broadcasts the endpoints of `discover`, as
    /// [`DiscoverExt::broadcast`](crate::discover::DiscoverExt::broadcast) does, and spawns the
    /// driver on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a tokio runtime.
    ///
    /// ```
    /// use tower_lb::{
    ///     Balancer,
    ///     discover::{self, Broadcast, DiscoverExt},
    ///     strategy::{P2c, RoundRobin},
    /// };
    /// # use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let endpoints = discover::addresses(["10.0.0.1:80"]).connect(|address| {
    ///     let address = *address;
    ///     service_fn(move |()| async move { Ok::<_, std::io::Error>(address) })
    /// });
    /// let endpoints = Broadcast::spawn(endpoints);
    /// let reads = Balancer::spawn(P2c::default(), endpoints.subscribe());
    /// let writes = Balancer::spawn(RoundRobin::new(), endpoints.subscribe());
    ///
    /// assert_eq!(reads.oneshot(()).await?, "10.0.0.1:80");
    /// assert_eq!(writes.oneshot(()).await?, "10.0.0.1:80");
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<D>(discover: D) -> Self
    where
        D: Discover<Key = K, Target = T> + Send + 'static,
        D::Error: Into<BoxError>,
        K: Send + Sync + 'static,
        T: Send + Sync + 'static,
    {
        let (broadcast, driver) = Self::new(discover);
        tokio::spawn(driver);
        broadcast
    }

    /// Returns a new stream of the endpoints. Its first update is a
    /// [`Reset`](crate::discover::Update::Reset) to the whole set, if the source has yielded one.
    ///
    /// A subscriber that comes while the source fails gets the last error too. After the end of the
    /// source, it gets the last set and the end.
    ///
    /// ```
    /// use futures::StreamExt;
    /// use tower_lb::discover::{self, DiscoverExt, Update};
    ///
    /// # tokio_test::block_on(async {
    /// let (broadcast, driver) = discover::addresses(["10.0.0.1:80"]).broadcast();
    /// driver.await;
    /// let mut late = broadcast.subscribe();
    /// assert!(matches!(late.next().await, Some(Ok(Update::Reset(all))) if all.len() == 1));
    /// assert!(late.next().await.is_none());
    /// # });
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription<K, T> {
        Subscription::new(Arc::clone(&self.hub))
    }
}

impl<K, T> Clone for Broadcast<K, T> {
    fn clone(&self) -> Self {
        Self { hub: Arc::clone(&self.hub) }
    }
}

impl<K, T> fmt::Debug for Broadcast<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").field("hub", &self.hub).finish()
    }
}
