use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::mpsc;

use crate::{discover::Update, endpoint::Endpoint};

/// Creates a handle that changes endpoints, and the stream of these changes.
///
/// The channel is unbounded: it keeps changes in order until the stream is polled. The stream ends
/// when all handles are dropped.
#[must_use]
pub fn channel<K, T>() -> (Handle<K, T>, Channel<K, T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Handle { sender }, Channel { receiver })
}

/// A handle that changes the endpoints of a [`channel`]'s stream.
///
/// # Errors
///
/// Each change fails with [`Disconnected`] if the stream was dropped.
#[derive(Debug)]
pub struct Handle<K, T> {
    sender: mpsc::UnboundedSender<Update<K, T>>,
}

impl<K, T> Handle<K, T> {
    /// Adds an endpoint (or a bare target), or changes the endpoint with this key. Another address
    /// starts with new state; see [`Endpoint`].
    pub fn insert(&self, key: K, endpoint: impl Into<Endpoint<T>>) -> Result<(), Disconnected> {
        self.send(Update::Insert(key, endpoint.into()))
    }

    /// Removes an endpoint. Requests in flight may finish. An unknown key is ignored.
    pub fn remove(&self, key: K) -> Result<(), Disconnected> {
        self.send(Update::Remove(key))
    }

    /// Replaces all endpoints as one change. Endpoints whose keys and targets stay keep their
    /// statistics.
    pub fn reset<E: Into<Endpoint<T>>>(
        &self,
        endpoints: impl IntoIterator<Item = (K, E)>,
    ) -> Result<(), Disconnected> {
        let endpoints = endpoints.into_iter().map(|(key, endpoint)| (key, endpoint.into()));
        self.send(Update::Reset(endpoints.collect()))
    }

    /// Sends an update.
    pub fn send(&self, update: Update<K, T>) -> Result<(), Disconnected> {
        self.sender.send(update).map_err(|_| Disconnected)
    }
}

impl<K, T> Clone for Handle<K, T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

/// The stream of a [`channel`].
#[derive(Debug)]
pub struct Channel<K, T> {
    receiver: mpsc::UnboundedReceiver<Update<K, T>>,
}

impl<K, T> Stream for Channel<K, T> {
    type Item = Result<Update<K, T>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|update| update.map(Ok))
    }
}

/// The error of a change that cannot arrive, because the stream of the [`channel`] was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream of endpoint changes was dropped")
    }
}

impl std::error::Error for Disconnected {}
