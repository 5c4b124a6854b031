use std::fmt;

use crate::escape::Escaped;

/// A function's answer that stands for no HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// It is not the JSON that was expected, for this reason.
    Json(Box<str>),
    /// It has no `statusCode`.
    NoStatus,
    /// Its `statusCode` is none.
    Status(Box<str>),
    /// A header of this name is none, or has a value that is none, one with a line break for example.
    Header(Box<str>),
    /// The body says that it is base64, and is not, for this reason.
    Base64(Box<str>),
    /// It is streamed, and does not begin with status and headers.
    NoPrelude,
    /// It is too large.
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
}

impl fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function's answer is no HTTP response: ")?;
        match self {
            Self::Json(reason) => write!(f, "not the JSON expected: {}", Escaped(reason)),
            Self::NoStatus => f.write_str("no statusCode"),
            Self::Status(status) => write!(f, "{status:?} is no status"),
            Self::Header(name) => write!(f, "the header {name:?} is not valid"),
            Self::Base64(reason) => write!(f, "the body is not base64: {}", Escaped(reason)),
            Self::NoPrelude => f.write_str("it does not begin with status and headers"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "{bytes} bytes, and {limit} is the most")
            }
        }
    }
}

impl std::error::Error for InvalidResponse {}

/// An HTTP request that a format has no event for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsupportedRequest {
    /// It wants to turn into a WebSocket.
    Upgrade,
}

impl fmt::Display for UnsupportedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade => f.write_str("functions speak no WebSocket"),
        }
    }
}

impl std::error::Error for UnsupportedRequest {}
