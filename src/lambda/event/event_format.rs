use bytes::Bytes;
use http::{Response, request};

use crate::lambda::{InvalidResponse, UnsupportedRequest};

/// How an HTTP request becomes a function's event, and its answer a response.
///
/// [`AlbEvent`](crate::lambda::AlbEvent) and [`UrlEvent`](crate::lambda::UrlEvent) are those of an Application Load
/// Balancer and of function URLs.
pub trait EventFormat {
    /// The event, as JSON. `body` is in pieces, as it came.
    ///
    /// # Errors
    ///
    /// [`UnsupportedRequest`] for a request that the format has no event for.
    fn encode(&self, head: &request::Parts, body: &[Bytes]) -> Result<Bytes, UnsupportedRequest>;

    /// The response that a function's answer stands for.
    ///
    /// # Errors
    ///
    /// [`InvalidResponse`] for an answer that stands for none.
    fn decode(&self, answer: Bytes) -> Result<Response<Bytes>, InvalidResponse>;

    /// The largest body of a request, in bytes. What is larger is answered by 413.
    fn max_body(&self) -> usize;
}
