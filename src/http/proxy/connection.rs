use std::{fmt, net::SocketAddr};

use http::HeaderValue;

/// The connection that a request came from.
///
/// The server inserts it into the extensions of each request. Without it, a [`Proxy`] trusts no
/// forwarding field and does not write the ones that name an address.
///
/// [`Proxy`]: crate::http::Proxy
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConnection {
    peer: SocketAddr,
    local: SocketAddr,
    tls: bool,
    // Written once per connection: a request costs a copy.
    peer_ip_field: HeaderValue,
    local_port_field: HeaderValue,
}

impl ClientConnection {
    /// Describes a connection without TLS. `peer` is the address of the client, or the one that a
    /// PROXY header names; `local` is the address that the client has connected to.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let ip = peer.ip().to_canonical().to_string();
        // An address has only printable characters.
        let peer_ip_field =
            HeaderValue::try_from(ip).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { peer, local, tls: false, peer_ip_field, local_port_field: local.port().into() }
    }

    setters! {
        /// Sets whether the connection is encrypted. Default `false`.
        pub fn tls(tls: bool) => tls = tls;
    }

    /// Returns the same connection to another port, such as the one that a port is mapped from.
    #[cfg(feature = "alb")]
    pub(crate) fn at_port(mut self, port: u16) -> Self {
        self.local.set_port(port);
        self.local_port_field = port.into();
        self
    }

    /// Returns the address of the client, or the one that a PROXY header names.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the address that the client has connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns whether the client's connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns the scheme of the requests on this connection.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Returns the element of `X-Forwarded-For`: the IP address of the client.
    pub(crate) fn peer_ip_field(&self) -> &HeaderValue {
        &self.peer_ip_field
    }

    /// Returns the value of `X-Forwarded-Port`: the port that the client has connected to.
    pub(crate) fn local_port_field(&self) -> &HeaderValue {
        &self.local_port_field
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection")
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("tls", &self.tls)
            .finish()
    }
}
