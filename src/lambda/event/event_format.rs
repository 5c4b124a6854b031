use std::fmt;

use bytes::Bytes;
use http::{Response, request};

use crate::escape::Escaped;

/// Converts HTTP requests to events of a function, and its responses to HTTP responses.
///
/// [`AlbEvent`](crate::lambda::AlbEvent) is the format of an Application Load Balancer,
/// [`UrlEvent`](crate::lambda::UrlEvent) that of function URLs.
pub trait EventFormat {
    /// Returns the event, as JSON.
    ///
    /// # Errors
    ///
    /// [`UnsupportedRequest`] for a request that the format can't express.
    fn encode(&self, head: &request::Parts, body: &[u8]) -> Result<Bytes, UnsupportedRequest>;

    /// Returns the HTTP response that a function's `response` stands for.
    ///
    /// # Errors
    ///
    /// [`InvalidResponse`] for a response that can't be converted.
    fn decode(&self, response: Bytes) -> Result<Response<Bytes>, InvalidResponse>;

    /// Returns the largest body of a request, in bytes.
    /// [`HttpFunction`](crate::lambda::HttpFunction) responds with 413 to a larger one.
    fn max_body(&self) -> usize;
}

/// A function's response that can't be converted to an HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// The response is not the expected JSON, for this reason.
    Json(Box<str>),
    /// `statusCode` is missing.
    NoStatus,
    /// `statusCode` is not a valid HTTP status.
    Status(Box<str>),
    /// The header of this name has an invalid name or value, for example a value with a line break.
    Header(Box<str>),
    /// The body is declared as base64 but is not valid, for this reason.
    Base64(Box<str>),
    /// The streamed response does not begin with status and headers.
    NoPrelude,
    /// The response is too large.
    TooLarge {
        /// The size of the response.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
}

impl fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function's response is not a valid HTTP response: ")?;
        match self {
            Self::Json(reason) => write!(f, "not the expected JSON: {}", Escaped(reason)),
            Self::NoStatus => f.write_str("`statusCode` is missing"),
            Self::Status(status) => write!(f, "{status:?} is not a valid `statusCode`"),
            Self::Header(name) => write!(f, "the header {name:?} is invalid"),
            Self::Base64(reason) => write!(f, "the body is not base64: {}", Escaped(reason)),
            Self::NoPrelude => f.write_str("it does not begin with status and headers"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "it has {bytes} bytes: send at most {limit}")
            }
        }
    }
}

impl std::error::Error for InvalidResponse {}

/// An HTTP request that an [`EventFormat`](crate::lambda::EventFormat) can't express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsupportedRequest {
    /// The request asks for an upgrade to WebSocket.
    Upgrade,
    /// The request asks for a tunnel, by method CONNECT.
    Connect,
    /// The request has several `Host` fields or an invalid one.
    Host,
}

impl fmt::Display for UnsupportedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade => f.write_str("functions do not support WebSocket upgrades"),
            Self::Connect => f.write_str("functions do not support tunnels (CONNECT)"),
            Self::Host => f.write_str("the request has several `Host` fields or an invalid one"),
        }
    }
}

impl std::error::Error for UnsupportedRequest {}
