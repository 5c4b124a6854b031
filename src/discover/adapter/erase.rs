use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};

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
        Self { stream: discover.map_err(Into::into).boxed() }
    }
}

impl<K, T> Stream for Erased<K, T> {
    type Item = Result<Update<K, T>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(cx)
    }
}

impl<K, T> fmt::Debug for Erased<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erased")
    }
}
