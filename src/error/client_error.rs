use std::{error::Error as StdError, fmt, sync::Arc};

use crate::BoxError;

/// Why a [`Client`](crate::http::Client) has no response.
///
/// The source says more. [`RetryOn`](crate::http::RetryOn) reads the kind: a request that was not
/// sent may be sent elsewhere, whatever its method.
#[derive(Clone, Debug)]
pub struct ClientError {
    kind: ClientErrorKind,
    /// Shared, because several requests may wait for the connection that fails.
    source: Arc<dyn StdError + Send + Sync>,
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
    /// All connections are in use, and as many requests as
    /// [`Pool::max_waiting`](crate::http::Pool::max_waiting) wait for one. The request was not sent.
    Busy,
    /// The endpoint has not processed the request: the connection closed before the request was
    /// written, or the endpoint refused it by the means of HTTP/2.
    Unsent,
    /// The client refuses to send the request, because it is not a valid one. The endpoint is not
    /// at fault, and any other one would get the same request.
    InvalidRequest,
    /// The endpoint has no connection that can carry the request, which is for an upgrade. It was
    /// not sent, and the endpoint is not at fault.
    Unsupported,
    /// The request body failed. The caller is at fault.
    RequestBody,
    /// The connection failed after the request was sent, at least in part.
    Connection,
}

impl ClientError {
    pub(crate) fn new(kind: ClientErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into().into() }
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
            ClientErrorKind::Busy => "all connections to the endpoint are in use",
            ClientErrorKind::Unsent => "the endpoint has not processed the request",
            ClientErrorKind::InvalidRequest => "the request cannot be sent",
            ClientErrorKind::Unsupported => "the endpoint accepts no upgrade",
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
