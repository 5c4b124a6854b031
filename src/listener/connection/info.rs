use std::{net::SocketAddr, sync::Arc};

#[cfg(feature = "tls")]
use crate::listener::tls::TlsDetails;
use crate::listener::{LocalAddress, ProxyHeader};

/// The connection that a request came on: an extension of each request. Clones share the facts.
///
/// [`ClientConnection`](crate::http::ClientConnection), another extension, is what a proxy tells
/// its endpoints: the address of the client as the PROXY header names it. This one has the
/// addresses of the socket.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    facts: Arc<Facts>,
}

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: LocalAddress,
    pub(super) proxy_header: Option<ProxyHeader>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsDetails>,
}

impl ConnectionInfo {
    pub(super) fn new(facts: Facts) -> Self {
        Self { facts: Arc::new(facts) }
    }

    /// Returns the address of the peer of the socket; `None` on a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.facts.peer
    }

    /// Returns the address that the peer has connected to. On a socket that listens on all
    /// addresses, it is the one of this connection.
    #[must_use]
    pub fn local(&self) -> &LocalAddress {
        &self.facts.local
    }

    /// Returns the PROXY header.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        self.facts.proxy_header.as_ref()
    }

    /// Returns what the TLS handshake has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsDetails> {
        self.facts.tls.as_ref()
    }
}
