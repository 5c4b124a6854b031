use std::{hash::Hash, time::Duration};

use tower_service::Service;

use super::{
    Broadcast, BroadcastDriver, Connect, Debounce, Dedup, Discover, Erased, FilterEndpoints,
    IntoTower, KeepLastGood, Make, MapEndpoints, MapKeys, SubsetEndpoints,
};
use crate::{
    BoxError,
    endpoint::{Endpoint, Locality},
};

/// Adapters for every [`Discover`].
pub trait DiscoverExt: Discover + Sized {
    /// Changes each endpoint with a function of its key and the endpoint: target, attributes or
    /// both.
    fn map_endpoints<F, U>(self, map: F) -> MapEndpoints<Self, F>
    where
        F: FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<U>,
    {
        MapEndpoints::new(self, map)
    }

    /// Changes the keys of endpoints, for example to keep the keys of several sources apart.
    /// Different keys must be mapped to different keys.
    fn map_keys<F: FnMut(Self::Key) -> L, L>(self, map: F) -> MapKeys<Self, F> {
        MapKeys::new(self, map)
    }

    /// Passes on the endpoints for which `wanted` returns true; see [`FilterEndpoints`].
    fn filter_endpoints<F>(self, wanted: F) -> FilterEndpoints<Self, F>
    where
        F: FnMut(&Self::Key, &Endpoint<Self::Target>) -> bool,
    {
        FilterEndpoints::new(self, wanted)
    }

    /// Sets the region and the zone of all endpoints.
    fn in_locality(
        self,
        locality: Locality,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    {
        self.map_endpoints(move |_, endpoint| endpoint.with_locality(locality.clone()))
    }

    /// Sets the priority tier of all endpoints; 0 is the most preferred.
    fn in_tier(
        self,
        tier: u32,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    {
        self.map_endpoints(move |_, endpoint| endpoint.with_tier(tier))
    }

    /// Sets the weight of each endpoint with a function of its key and the endpoint.
    fn with_weights<F: FnMut(&Self::Key, &Endpoint<Self::Target>) -> u32>(
        self,
        mut weight: F,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    {
        self.map_endpoints(move |key, endpoint| {
            let weight = weight(key, &endpoint);
            endpoint.with_weight(weight)
        })
    }

    /// Drops updates that change nothing. [`connect`](Self::connect) drops them as well.
    fn dedup(self) -> Dedup<Self> {
        Dedup::new(self)
    }

    /// Collects updates until the source has been quiet for `quiet`, but for at most `at_most`, and
    /// passes on the result. A source that removes an endpoint and adds it again within that time
    /// has changed nothing. The first update and errors are passed on at once.
    fn debounce(self, quiet: Duration, at_most: Duration) -> Debounce<Self>
    where
        Self::Key: Eq + Hash,
    {
        Debounce::new(self, quiet, at_most)
    }

    /// Keeps the last endpoints when the source reports an empty set, for sources that return an
    /// empty set when they fail; see [`KeepLastGood`].
    fn keep_last_good(self) -> KeepLastGood<Self> {
        KeepLastGood::new(self)
    }

    /// Passes on a subset of many endpoints, a different one for each client:
    /// [`RendezvousSubset`](super::RendezvousSubset) or [`ApertureSubset`](super::ApertureSubset).
    /// Call it before [`connect`](Self::connect).
    fn subset<S>(self, subsetting: S) -> SubsetEndpoints<Self, S> {
        SubsetEndpoints::new(self, subsetting)
    }

    /// Erases the type, so that different sources fit into one list or field.
    fn erase(self) -> Erased<Self::Key, Self::Target>
    where
        Self: Send + 'static,
        Self::Error: Into<BoxError>,
    {
        Erased::new(self)
    }

    /// Passes the endpoints on to many balancers, which subscribe at any time: returns the
    /// [`Broadcast`] to subscribe to, and its driver, which polls this source. Spawn the driver, or
    /// use [`Broadcast::spawn`].
    ///
    /// ```
    /// use tower_lb::{
    ///     Balancer,
    ///     discover::{self, DiscoverExt},
    ///     strategy::P2c,
    /// };
    /// # use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let (handle, stream) = discover::channel();
    /// let (endpoints, driver) = stream
    ///     .connect(|address: &&str| {
    ///         let address = *address;
    ///         service_fn(move |()| async move { Ok::<_, std::io::Error>(address) })
    ///     })
    ///     .broadcast();
    /// tokio::spawn(driver);
    ///
    /// handle.insert("a", "10.0.0.1:80")?;
    /// for _ in 0..3 {
    ///     let balancer = Balancer::spawn(P2c::default(), endpoints.subscribe());
    ///     assert_eq!(balancer.oneshot(()).await?, "10.0.0.1:80");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    fn broadcast(self) -> (Broadcast<Self::Key, Self::Target>, BroadcastDriver<Self>)
    where
        Self::Key: Clone + Eq + Hash,
        Self::Target: Clone,
        Self::Error: Into<BoxError>,
    {
        Broadcast::new(self)
    }

    /// Turns targets into services with a function; see [`Connect`].
    fn connect<F, S>(self, connect: F) -> Connect<Self, F, S>
    where
        F: FnMut(&Self::Target) -> S,
        S: Clone,
        Self::Key: Clone + Eq + Hash,
        Self::Target: PartialEq,
    {
        Connect::new(self, connect)
    }

    /// Turns targets into services with a `Service` that makes services, such as tower's
    /// `MakeService`; see [`Make`].
    fn make<M>(self, make: M) -> Make<Self, M>
    where
        M: Service<Self::Target, Response: Clone> + Clone,
    {
        Make::new(self, make)
    }

    /// Turns the stream into one for tower's own `Balance`, for a gradual migration. It has the
    /// eligible endpoints, without weights and other attributes.
    fn into_tower(self) -> IntoTower<Self> {
        IntoTower::new(self)
    }
}

impl<D: Discover> DiscoverExt for D {}
