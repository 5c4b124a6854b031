use std::net::SocketAddr;

/// The connection that a request came from.
///
/// The server inserts it into the extensions of each request. Without it, a [`Proxy`] trusts no
/// forwarding field and does not write the ones that name an address.
///
/// [`Proxy`]: crate::http::Proxy
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConnection {
    /// The address of the peer, or the one that a PROXY header names.
    pub peer: SocketAddr,
    /// The address that the peer has connected to.
    pub local: SocketAddr,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
}

impl ClientConnection {
    /// Describes a connection without TLS from `peer` to `local`.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, tls: false }
    }

    setters! {
        /// Sets whether the connection is encrypted. Default `false`.
        pub fn tls(tls: bool) => tls = tls;
    }

    /// Returns the scheme of the requests on this connection.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}
