use std::{hash::Hash, time::Duration};

use tower_service::Service;

use super::{
    Connect, Debounce, Dedup, Discover, Erased, FilterEndpoints, IntoTower, KeepLastGood, Make,
    MapEndpoints, MapKeys, Subset,
};
use crate::{
    BoxError,
    endpoint::{Endpoint, Locality},
};

/// Adapters for every [`Discover`].
pub trait DiscoverExt: Discover + Sized {
    /// Changes each endpoint by a function of its key and itself: target, attributes or both.
    fn map_endpoints<F, U>(self, map: F) -> MapEndpoints<Self, F>
    where
        F: FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<U>,
    {
        MapEndpoints::new(self, map)
    }

    /// Renames endpoints, so that those of several sources don't meet, for example. Different keys
    /// must get different names.
    fn map_keys<F, L>(self, map: F) -> MapKeys<Self, F>
    where
        F: FnMut(Self::Key) -> L,
    {
        MapKeys::new(self, map)
    }

    /// Passes on the endpoints that a function wants; see [`FilterEndpoints`].
    fn filter_endpoints<F>(self, wanted: F) -> FilterEndpoints<Self, F>
    where
        F: FnMut(&Self::Key, &Endpoint<Self::Target>) -> bool,
    {
        FilterEndpoints::new(self, wanted)
    }

    /// Puts all endpoints into a region and zone.
    fn in_locality(
        self,
        locality: Locality,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    {
        self.map_endpoints(move |_, endpoint| endpoint.with_locality(locality.clone()))
    }

    /// Puts all endpoints into a priority tier; 0 is the most preferred.
    fn in_tier(
        self,
        tier: u32,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    {
        self.map_endpoints(move |_, endpoint| endpoint.with_tier(tier))
    }

    /// Sets each endpoint's weight by a function of its key and itself.
    fn with_weights<F>(
        self,
        mut weight: F,
    ) -> MapEndpoints<Self, impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<Self::Target>>
    where
        F: FnMut(&Self::Key, &Endpoint<Self::Target>) -> u32,
    {
        self.map_endpoints(move |key, endpoint| {
            let weight = weight(key, &endpoint);
            endpoint.with_weight(weight)
        })
    }

    /// Drops updates that change nothing. [`connect`](Self::connect) does so of itself.
    fn dedup(self) -> Dedup<Self> {
        Dedup::new(self)
    }

    /// Waits until the source has been quiet for a time, at most for another, and passes on what
    /// has changed by then: a source that takes an endpoint out and puts it back meanwhile has
    /// changed nothing. The very first update, and errors, don't wait.
    fn debounce(self, quiet: Duration, at_most: Duration) -> Debounce<Self>
    where
        Self::Key: Eq + Hash,
    {
        Debounce::new(self, quiet, at_most)
    }

    /// Keeps the last endpoints when the source says that there are none, for sources that empty
    /// themselves when something is wrong; see [`KeepLastGood`].
    fn keep_last_good(self) -> KeepLastGood<Self> {
        KeepLastGood::new(self)
    }

    /// Passes on a subset of a large fleet, another for each client:
    /// [`RendezvousSubset`](super::RendezvousSubset) or [`Aperture`](super::Aperture). Comes before
    /// [`connect`](Self::connect).
    fn subset<S>(self, subsetting: S) -> Subset<Self, S> {
        Subset::new(self, subsetting)
    }

    /// Forgets the type, so that different sources fit into one list or field.
    fn erase(self) -> Erased<Self::Key, Self::Target>
    where
        Self: Send + 'static,
        Self::Error: Into<BoxError>,
    {
        Erased::new(self)
    }

    /// Turns targets into services by a function; see [`Connect`].
    fn connect<F, S>(self, connect: F) -> Connect<Self, F, S>
    where
        F: FnMut(&Self::Target) -> S,
    {
        Connect::new(self, connect)
    }

    /// Turns targets into services by a `Service` that makes services, as tower's `MakeService`
    /// does; see [`Make`].
    fn make<M>(self, make: M) -> Make<Self, M>
    where
        M: Service<Self::Target>,
    {
        Make::new(self, make)
    }

    /// The endpoints as tower's own `Balance` takes them, for moving over piece by piece: those
    /// that are eligible, without weights and other attributes.
    fn into_tower(self) -> IntoTower<Self> {
        IntoTower::new(self)
    }
}

impl<D: Discover> DiscoverExt for D {}
