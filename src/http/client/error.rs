use std::{error::Error as StdError, fmt, sync::Arc};

use super::body::BodyFailed;
use crate::{BoxError, error::chain};

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

    /// Returns the error of a request that hyper did not hand back.
    pub(super) fn of_sent(error: hyper::Error) -> Self {
        Self::new(kind_of_sent(&error), error)
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }
}

fn kind_of_sent(error: &hyper::Error) -> ClientErrorKind {
    if error.is_body_write_aborted() || chain(error).any(|error| error.is::<BodyFailed>()) {
        return ClientErrorKind::RequestBody;
    }
    if let Some(error) = chain(error).find_map(|error| error.downcast_ref::<h2::Error>()) {
        return kind_of_h2(error);
    }
    // "User" is also what hyper calls the end of the runtime, and that error has a source.
    if error.is_user() && error.source().is_none() {
        return ClientErrorKind::InvalidRequest;
    }
    ClientErrorKind::Connection
}

fn kind_of_h2(error: &h2::Error) -> ClientErrorKind {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && (is_refused || error.is_go_away()) {
        // RFC 9113, 8.7. h2 gives this error to the streams above the last one of a GOAWAY only.
        ClientErrorKind::Unsent
    } else if error.is_reset() && !error.is_remote() && !error.is_library() {
        // hyper resets a stream when its request body fails.
        ClientErrorKind::RequestBody
    } else if error.reason().is_none() && !error.is_io() {
        // h2 refuses to encode the request.
        ClientErrorKind::InvalidRequest
    } else {
        ClientErrorKind::Connection
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
