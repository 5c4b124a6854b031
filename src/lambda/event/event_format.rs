use bytes::Bytes;
use http::{Response, request};

use crate::lambda::{InvalidResponse, UnsupportedRequest};

/// Converts HTTP requests to events of a function, and its responses to HTTP responses.
///
/// [`AlbEvent`](crate::lambda::AlbEvent) is the format of an Application Load Balancer,
/// [`UrlEvent`](crate::lambda::UrlEvent) that of function URLs.
pub trait EventFormat {
    /// Returns the event, as JSON. `body` is in the pieces that it arrived in.
    ///
    /// # Errors
    ///
    /// [`UnsupportedRequest`] for a request that the format can't express.
    fn encode(&self, head: &request::Parts, body: &[Bytes]) -> Result<Bytes, UnsupportedRequest>;

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
