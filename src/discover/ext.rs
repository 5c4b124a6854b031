use tower_service::Service;

use super::{Connect, Discover, IntoTower, Make};

/// Adapters for every [`Discover`].
pub trait DiscoverExt: Discover + Sized {
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

    /// The endpoints as tower's own `Balance` takes them, for moving over piece by piece: those that
    /// are eligible, without weights and other attributes.
    fn into_tower(self) -> IntoTower<Self> {
        IntoTower::new(self)
    }
}

impl<D: Discover> DiscoverExt for D {}
