use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use pin_project_lite::pin_project;

use crate::{
    discover::{Discover, Update},
    endpoint::Endpoint,
};

pin_project! {
    /// Changes each endpoint with a function of its key and the endpoint. The stream of
    /// [`DiscoverExt::map_endpoints`](crate::discover::DiscoverExt::map_endpoints) and of the
    /// adapters that set one attribute.
    #[derive(Clone)]
    pub struct MapEndpoints<D, F> {
        #[pin]
        discover: D,
        map: F,
    }
}

impl<D, F> MapEndpoints<D, F> {
    pub(crate) fn new(discover: D, map: F) -> Self {
        Self { discover, map }
    }
}

impl<D: Discover, F: FnMut(&D::Key, Endpoint<D::Target>) -> Endpoint<U>, U> Stream
    for MapEndpoints<D, F>
{
    type Item = Result<Update<D::Key, U>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        this.discover.poll_discover(cx).map_ok(|update| update.map(|key| key, &mut *this.map))
    }
}

impl<D: fmt::Debug, F> fmt::Debug for MapEndpoints<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapEndpoints").field("discover", &self.discover).finish_non_exhaustive()
    }
}

pin_project! {
    /// Changes the keys of endpoints with a function. The stream of
    /// [`DiscoverExt::map_keys`](crate::discover::DiscoverExt::map_keys).
    #[derive(Clone)]
    pub struct MapKeys<D, F> {
        #[pin]
        discover: D,
        map: F,
    }
}

impl<D, F> MapKeys<D, F> {
    pub(crate) fn new(discover: D, map: F) -> Self {
        Self { discover, map }
    }
}

impl<D: Discover, F: FnMut(D::Key) -> L, L> Stream for MapKeys<D, F> {
    type Item = Result<Update<L, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let update = this.discover.poll_discover(cx);
        update.map_ok(|update| update.map(&mut *this.map, |_, endpoint| endpoint))
    }
}

impl<D: fmt::Debug, F> fmt::Debug for MapKeys<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapKeys").field("discover", &self.discover).finish_non_exhaustive()
    }
}
