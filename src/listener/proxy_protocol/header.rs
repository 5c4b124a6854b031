use std::{fmt, net::SocketAddr, sync::Arc};

/// The PROXY header of a connection: what a load balancer in front says about its client. Requests
/// have it in their [`ConnectionInfo`](crate::listener::ConnectionInfo).
///
/// The header comes from a trusted network, and its fields are still only what the peer wrote.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyHeader {
    inner: Arc<Inner>,
}

#[derive(PartialEq, Eq)]
struct Inner {
    version: u8,
    addresses: Option<Addresses>,
    /// The extensions as they came: each a type, a length of 16 bits, and a value.
    extensions: Box<[u8]>,
}

/// The connection of the client to the load balancer in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

/// The types of extensions, as the specification names them.
pub(super) mod kind {
    pub(in crate::listener) const ALPN: u8 = 0x01;
    pub(in crate::listener) const AUTHORITY: u8 = 0x02;
    pub(in crate::listener) const CRC32C: u8 = 0x03;
    pub(in crate::listener) const UNIQUE_ID: u8 = 0x05;
    pub(in crate::listener) const SSL: u8 = 0x20;
    pub(in crate::listener) const SSL_VERSION: u8 = 0x21;
    pub(in crate::listener) const SSL_CN: u8 = 0x22;
    pub(in crate::listener) const SSL_CIPHER: u8 = 0x23;
    /// Amazon's own: a sub-type of one byte, and a value.
    pub(in crate::listener) const AWS: u8 = 0xEA;
}

/// The sub-type of [`kind::AWS`] that names a VPC endpoint.
const AWS_VPC_ENDPOINT_ID: u8 = 0x01;
/// In the flags of [`kind::SSL`]: the client has connected over TLS.
const CLIENT_SSL: u8 = 0x01;
/// In the flags of [`kind::SSL`]: the client has sent a certificate, on this connection or on one
/// of the same session.
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

impl ProxyHeader {
    /// The type of the extension with which AWS's load balancers name a VPC endpoint.
    #[cfg(feature = "tcp")]
    pub(in crate::listener) const AWS: u8 = kind::AWS;

    pub(super) fn new(version: u8, addresses: Option<Addresses>, extensions: &[u8]) -> Self {
        Self { inner: Arc::new(Inner { version, addresses, extensions: extensions.into() }) }
    }

    /// Returns the version of the protocol, 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.inner.version
    }

    /// Returns the address of the client; `None` if the header keeps those of the socket.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        Some(self.inner.addresses.as_ref()?.source)
    }

    /// Returns the address that the client has connected to; `None` if the header keeps those of
    /// the socket.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        Some(self.inner.addresses.as_ref()?.destination)
    }

    /// Returns the application protocol that the client has agreed on, such as `h2`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.extension(kind::ALPN)
    }

    /// Returns the host that the client asked for, usually the server name of its TLS handshake.
    /// `None` if it is not UTF-8.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        text(self.extension(kind::AUTHORITY)?)
    }

    /// Returns the identifier of the connection.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.extension(kind::UNIQUE_ID)
    }

    /// Returns what is said about the client's TLS.
    #[must_use]
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        let (&flags, rest) = self.extension(kind::SSL)?.split_first()?;
        let (verify, extensions) = rest.split_first_chunk()?;
        Some(ProxySsl { flags, verify: u32::from_be_bytes(*verify), extensions })
    }

    /// Returns the identifier of the VPC endpoint that an AWS Network Load Balancer was reached by.
    #[must_use]
    pub fn vpc_endpoint_id(&self) -> Option<&str> {
        let (&subtype, id) = self.extension(kind::AWS)?.split_first()?;
        text(id).filter(|_| subtype == AWS_VPC_ENDPOINT_ID)
    }

    /// Returns the value of the first extension of a type (TLV), such as those from `0xE0` to
    /// `0xEF`, which applications define.
    #[must_use]
    pub fn extension(&self, kind: u8) -> Option<&[u8]> {
        find(&self.inner.extensions, kind)
    }
}

impl fmt::Debug for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyHeader")
            .field("version", &self.version())
            .field("source", &self.source())
            .field("destination", &self.destination())
            .finish_non_exhaustive()
    }
}

/// The TLS of the client, as a [`ProxyHeader`] describes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ProxySsl<'a> {
    flags: u8,
    verify: u32,
    extensions: &'a [u8],
}

impl<'a> ProxySsl<'a> {
    /// Returns whether the client has connected over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.flags & CLIENT_SSL != 0
    }

    /// Returns whether the client has sent a certificate, and it was verified.
    #[must_use]
    pub fn is_client_verified(&self) -> bool {
        self.flags & CLIENT_CERTIFICATE != 0 && self.verify == 0
    }

    /// Returns the version of TLS, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        text(find(self.extensions, kind::SSL_VERSION)?)
    }

    /// Returns the common name of the client's certificate.
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        text(find(self.extensions, kind::SSL_CN)?)
    }

    /// Returns the name of the cipher suite.
    #[must_use]
    pub fn cipher(&self) -> Option<&'a str> {
        text(find(self.extensions, kind::SSL_CIPHER)?)
    }
}

impl fmt::Debug for ProxySsl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySsl")
            .field("is_tls", &self.is_tls())
            .field("is_client_verified", &self.is_client_verified())
            .field("version", &self.version())
            .field("cipher", &self.cipher())
            .finish_non_exhaustive()
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn find(extensions: &[u8], kind: u8) -> Option<&[u8]> {
    let mut rest = extensions;
    while let Some((&[found, high, low], after)) = rest.split_first_chunk() {
        let (value, next) = after.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        if found == kind {
            return Some(value);
        }
        rest = next;
    }
    None
}
