use std::{fmt::Display, hash::Hash, sync::Arc};

use super::{Peer, TraceAttempts, TracedEndpoint};
use crate::{
    discover::{Connect, Discover, DiscoverExt, MapEndpoints},
    endpoint::Endpoint,
};

/// Traces the attempts at the endpoints of any [`Discover`].
pub trait TraceExt: Discover + Sized {
    /// Turns targets into services with a function, as
    /// [`DiscoverExt::connect`] does, and traces their attempts. `connect` may return any client of
    /// `http::Request`s.
    ///
    /// Put layers for one attempt, such as [`AttemptTimeout`](crate::http::AttemptTimeout), around
    /// the service that `connect` returns. Then a timeout is an error of the span.
    fn connect_traced<F, S>(
        self,
        trace: TraceAttempts,
        mut connect: F,
    ) -> Connect<
        MapEndpoints<
            Self,
            impl FnMut(&Self::Key, Endpoint<Self::Target>) -> Endpoint<(Arc<str>, Self::Target)>,
        >,
        impl FnMut(&(Arc<str>, Self::Target)) -> TracedEndpoint<S>,
        TracedEndpoint<S>,
    >
    where
        F: FnMut(&Self::Target) -> S,
        S: Clone,
        Self::Key: Clone + Display + Eq + Hash,
        Self::Target: PartialEq,
        for<'t> Peer: From<&'t Self::Target>,
    {
        // Spans show the key of the endpoint, which a function of the target does not know.
        let named = |key: &Self::Key, endpoint: Endpoint<Self::Target>| {
            let name = Arc::from(key.to_string());
            endpoint.map(|target| (name, target))
        };
        self.map_endpoints(named).connect(move |(name, target): &(Arc<str>, Self::Target)| {
            trace.endpoint(name, target, connect(target))
        })
    }
}

impl<D: Discover> TraceExt for D {}
