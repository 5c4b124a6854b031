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
    /// Returns what the head of a response says; `None` if only the end of the response tells.
    fn head(&self, head: &Parts) -> Option<Outcome>;

    /// Returns what the end of the body says. `head` is what [`head`](Self::head) returned.
    ///
    /// Default: `head`, or [`Outcome::Success`].
    fn end(&self, head: Option<Outcome>, trailers: Option<&HeaderMap>) -> Outcome {
        let _ = trailers;
        head.unwrap_or(Outcome::Success)
    }

    /// Returns what an error says that came instead of a response or within its body.
    ///
    /// Default: [`Outcome::of_error`].
    fn error(&self, error: &(dyn StdError + 'static)) -> Outcome {
        Outcome::of_error(error)
    }
}
