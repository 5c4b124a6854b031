use std::{fmt, net::SocketAddr};

use http::uri::Scheme;

use crate::http::Origin;

/// Where the attempts at an endpoint go, for the fields `server.*` and `network.peer.*` of their
/// spans.
///
/// It is made from the target of an endpoint: an [`Origin`] or a [`SocketAddr`]. For a target of
/// another type, implement `From<&Target> for Peer`.
///
/// ```
/// use tower_lb::http::trace::Peer;
///
/// #[derive(PartialEq)]
/// struct Channel {
///     host: String,
/// }
///
/// impl From<&Channel> for Peer {
///     fn from(channel: &Channel) -> Self {
///         Self::named(&channel.host, 443)
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    scheme: Scheme,
    /// Without brackets.
    host: Box<str>,
    port: u16,
    base_path: Box<str>,
    address: Option<SocketAddr>,
}

impl Peer {
    /// Creates a peer with a host that a client resolves, and the port. Its scheme is `https` if
    /// the port is 443, and `http` otherwise.
    #[must_use]
    pub fn named(host: &str, port: u16) -> Self {
        let scheme = if port == 443 { Scheme::HTTPS } else { Scheme::HTTP };
        Self { scheme, host: host.into(), port, base_path: Box::default(), address: None }
    }

    setters! {
        /// Sets the address that the client connects to, if it is known in advance.
        pub fn at(address: SocketAddr) => address = Some(address);
    }

    pub(super) fn scheme(&self) -> &str {
        self.scheme.as_str()
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn base_path(&self) -> &str {
        &self.base_path
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl From<&Origin> for Peer {
    fn from(origin: &Origin) -> Self {
        Self {
            scheme: origin.scheme().clone(),
            host: origin.host_name().into(),
            port: origin.port(),
            base_path: origin.base_path().into(),
            address: origin.socket_address(),
        }
    }
}

impl From<&SocketAddr> for Peer {
    fn from(address: &SocketAddr) -> Self {
        Self::named(&address.ip().to_string(), address.port()).at(*address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, base_path, .. } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}{base_path}"),
            false => write!(f, "{scheme}://{host}:{port}{base_path}"),
        }
    }
}
