use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;

use crate::{discover::Update, endpoint::Endpoint};

/// Creates a source of endpoints that do not change.
pub fn list<K, T>(endpoints: impl IntoIterator<Item = (K, Endpoint<T>)>) -> List<K, T> {
    List { endpoints: Some(endpoints.into_iter().collect()) }
}

/// Creates a source of addresses that do not change. Each address is its own key.
pub fn addresses<A: Clone>(addresses: impl IntoIterator<Item = A>) -> List<A, A> {
    list(addresses.into_iter().map(|address| (address.clone(), Endpoint::new(address))))
}

/// The stream of [`list`] and [`addresses`]: one [`Update::Reset`].
#[derive(Clone, Debug)]
pub struct List<K, T> {
    endpoints: Option<Vec<(K, Endpoint<T>)>>,
}

impl<K, T> Unpin for List<K, T> {}

impl<K, T> Stream for List<K, T> {
    type Item = Result<Update<K, T>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.endpoints.take().map(|endpoints| Ok(Update::Reset(endpoints))))
    }
}
