use std::sync::Arc;

#[cfg(feature = "tcp")]
use super::Connections;
use super::{
    ListenerBuilder, ListenerStatus, LocalAddress, Serve,
    connection::HttpService,
    core::{Core, Phase},
    socket::BoundSocket,
};
use crate::named::weak_status;

/// Sockets that are open, and the settings of the connections to them.
///
/// Its [`serve`](Self::serve) is a future that does all the work. Dropping the listener closes the
/// sockets.
#[derive(Debug)]
pub struct Listener {
    bound: Vec<BoundSocket>,
    handle: ListenerHandle,
}

/// Reads the status of a [`Listener`] and stops it. Clones are for the same listener.
#[derive(Clone, Debug)]
pub struct ListenerHandle {
    core: Arc<Core>,
    addresses: Arc<[LocalAddress]>,
}

impl Listener {
    /// Returns the default settings, without a socket.
    #[must_use]
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::new()
    }

    pub(super) fn new(
        bound: Vec<BoundSocket>,
        addresses: Arc<[LocalAddress]>,
        core: Arc<Core>,
    ) -> Self {
        Self { bound, handle: ListenerHandle { core, addresses } }
    }

    /// Returns the address of each [`Socket`](super::Socket), in their order. A socket that was
    /// given port 0 has the port that it got.
    #[must_use]
    pub fn local_addresses(&self) -> &[LocalAddress] {
        self.handle.local_addresses()
    }

    /// Returns what the listener has done so far.
    #[must_use]
    pub fn status(&self) -> ListenerStatus {
        self.handle.status()
    }

    /// Returns a handle, which is of use while the listener serves.
    #[must_use]
    pub fn handle(&self) -> ListenerHandle {
        self.handle.clone()
    }

    /// Serves requests until the graceful shutdown is complete; see [`Serve`].
    pub fn serve<S: HttpService>(self, service: S) -> Serve<S> {
        Serve::new(self.bound, self.handle.core, service)
    }

    /// Gives the connections themselves to a service, after the PROXY header and the TLS handshake,
    /// until the graceful shutdown is complete; see [`Serve`].
    ///
    /// The builder's limits on connections and handshakes apply, and those on HTTP do not. After
    /// the handshake the listener does not limit the time of a connection: a
    /// [`Relay`](crate::tcp::Relay) has limits of its own.
    #[cfg(feature = "tcp")]
    pub fn serve_connections<S>(self, service: S) -> Serve<Connections<S>>
    where
        S: super::ConnectionService,
    {
        Serve::new(self.bound, self.handle.core, Connections(service))
    }
}

impl ListenerHandle {
    /// Begins the graceful shutdown: see [`Serve`]. A second call has no effect.
    pub fn shutdown(&self) {
        self.core.advance(Phase::Draining);
    }

    /// Returns what the listener has done so far.
    #[must_use]
    pub fn status(&self) -> ListenerStatus {
        self.core.status()
    }

    /// Returns the address of each [`Socket`](super::Socket), in their order.
    #[must_use]
    pub fn local_addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// Returns a function that reads the status until listener, connections and handles are gone.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<ListenerStatus> + Send + Sync + use<> {
        weak_status(&self.core, Core::status)
    }
}
