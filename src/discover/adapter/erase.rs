use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt, stream::BoxStream};

use crate::{
    BoxError,
    discover::{Discover, Update},
};

/// A source whose type is erased, so that different sources fit into one list. The stream of
/// [`DiscoverExt::erase`](crate::discover::DiscoverExt::erase).
pub struct Erased<K, T> {
    stream: BoxStream<'static, Result<Update<K, T>, BoxError>>,
}

impl<K, T> Erased<K, T> {
    pub(crate) fn new<D>(discover: D) -> Self
    where
        D: Discover<Key = K, Target = T, Error: Into<BoxError>> + Send + 'static,
    {
        Self { stream: IntoBoxError { discover: Box::pin(discover) }.boxed() }
    }
}

impl<K, T> Stream for Erased<K, T> {
    type Item = Result<Update<K, T>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(cx)
    }
}

struct IntoBoxError<D> {
    discover: Pin<Box<D>>,
}

impl<D: Discover<Error: Into<BoxError>>> Stream for IntoBoxError<D> {
    type Item = Result<Update<D::Key, D::Target>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let update = ready!(self.discover.as_mut().poll_discover(cx));
        Poll::Ready(update.map(|update| update.map_err(Into::into)))
    }
}

impl<K, T> fmt::Debug for Erased<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erased")
    }
}
