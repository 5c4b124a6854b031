use std::{error::Error as StdError, fmt};

use crate::BoxError;

/// Why a [`Client`](crate::http::Client) has no response.
///
/// The source says more. [`RetryOn`](crate::http::RetryOn) reads the kind: a request that was not
/// sent may be sent elsewhere, whatever its method.
#[derive(Debug)]
pub struct ClientError {
    kind: ClientErrorKind,
    source: BoxError,
}

/// The kinds of [`ClientError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// No connection was established. The request was not sent.
    Connect,
    /// The TLS handshake failed, for example because a certificate is not trusted. The request was
    /// not sent.
    Tls,
    /// The connection closed before the request was written. The request was not sent.
    Unsent,
    /// The client refuses to send the request, because it is not a valid one. The endpoint is not
    /// at fault, and any other one would get the same request.
    InvalidRequest,
    /// The request body failed. The caller is at fault.
    RequestBody,
    /// The connection failed after the request was sent, at least in part.
    Connection,
}

impl ClientError {
    #[cfg_attr(not(test), expect(dead_code, reason = "made by the pool that is to come"))]
    pub(crate) fn new(kind: ClientErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ClientErrorKind::Connect => "no connection to the endpoint",
            ClientErrorKind::Tls => "the TLS handshake with the endpoint failed",
            ClientErrorKind::Unsent => "the connection closed before the request was sent",
            ClientErrorKind::InvalidRequest => "the request cannot be sent",
            ClientErrorKind::RequestBody => "the request body failed",
            ClientErrorKind::Connection => "the connection to the endpoint failed",
        })
    }
}

impl StdError for ClientError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
