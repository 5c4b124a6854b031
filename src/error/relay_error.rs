use std::{error::Error as StdError, fmt};

use crate::BoxError;

/// Why a connection was not relayed to a target. No byte of the client was sent.
///
/// The source says more.
#[derive(Debug)]
pub struct RelayError {
    kind: RelayErrorKind,
    source: BoxError,
}

/// The kinds of [`RelayError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayErrorKind {
    /// The target refused the connection, or was not connected in time, with the PROXY header and
    /// the TLS handshake.
    Connect,
    /// This process could not open a connection, for example because it has no file descriptor
    /// left. The target is not at fault.
    Local,
    /// The PROXY header could not be sent.
    ProxyHeader,
    /// The TLS handshake with the target failed.
    Tls,
    /// The target is the address that the client has connected to, so the connection would come
    /// back.
    Loop,
    /// No service is known for the server name of the client, and there is no default.
    UnknownName,
    /// The client's stream was taken by another attempt, or was reset.
    NoClient,
}

impl RelayError {
    pub(crate) fn new(kind: RelayErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> RelayErrorKind {
        self.kind
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RelayErrorKind::Connect => "no connection to the target",
            RelayErrorKind::Local => "this process cannot open a connection",
            RelayErrorKind::ProxyHeader => "the target did not take the PROXY header",
            RelayErrorKind::Tls => "the TLS handshake with the target failed",
            RelayErrorKind::Loop => "the target is the load balancer itself",
            RelayErrorKind::UnknownName => "no service has this server name",
            RelayErrorKind::NoClient => "the client's stream is not available",
        })
    }
}

impl StdError for RelayError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
