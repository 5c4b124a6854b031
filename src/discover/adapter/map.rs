use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use crate::{
    discover::{Discover, Update},
    endpoint::Endpoint,
};

adapter! {
    /// Changes each endpoint with a function of its key and the endpoint. The stream of
    /// [`DiscoverExt::map_endpoints`](crate::discover::DiscoverExt::map_endpoints) and of the
    /// adapters that set one attribute.
    #[derive(Clone)]
    pub struct MapEndpoints<D, F>(map: F) {}
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

adapter! {
    /// Changes the keys of endpoints with a function. The stream of
    /// [`DiscoverExt::map_keys`](crate::discover::DiscoverExt::map_keys).
    #[derive(Clone)]
    pub struct MapKeys<D, F>(map: F) {}
}

impl<D: Discover, F: FnMut(D::Key) -> L, L> Stream for MapKeys<D, F> {
    type Item = Result<Update<L, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let update = this.discover.poll_discover(cx);
        update.map_ok(|update| update.map(&mut *this.map, |_, endpoint| endpoint))
    }
}
