use std::error::Error as StdError;

use http::{HeaderMap, response::Parts};

use crate::outcome::Outcome;

/// Decides what an HTTP response says about its endpoint.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot classify HTTP responses",
    label = "this type does not implement `ClassifyHttp`",
    note = "use `HttpStatus` or `GrpcStatus`, or implement `ClassifyHttp` for the type"
)]
pub trait ClassifyHttp {
    /// Returns what the head of a response says.
    fn head(&self, head: &Parts) -> Outcome;

    /// Returns what the end of the body says. `head` is what [`head`](Self::head) returned, and the
    /// default.
    fn end(&self, head: Outcome, trailers: Option<&HeaderMap>) -> Outcome {
        let _ = trailers;
        head
    }

    /// Returns what an error says that came instead of a response or within its body.
    ///
    /// Default: [`Outcome::of_error`]. A request that was not sent because it could not be signed
    /// says nothing about the endpoint: the default for it is [`Outcome::Cancelled`].
    fn error(&self, error: &(dyn StdError + 'static)) -> Outcome {
        #[cfg(feature = "sigv4")]
        if crate::http::sigv4::SignError::is_in(error) {
            return Outcome::Cancelled;
        }
        Outcome::of_error(error)
    }
}
