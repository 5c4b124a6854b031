use std::error::Error as StdError;

use http::{HeaderMap, response::Parts};

use crate::outcome::Outcome;

/// Decides what an HTTP response says about the endpoint it came from.
pub trait ClassifyHttp {
    /// What the head of a response says.
    fn head(&self, head: &Parts) -> Outcome;

    /// What the end of the body says, given what the head said. Default: nothing more.
    fn end(&self, head: Outcome, trailers: Option<&HeaderMap>) -> Outcome {
        let _ = trailers;
        head
    }

    /// What an error instead of a response, or in the middle of one, says. Default:
    /// [`Outcome::of_error`], but that a request which was not sent because it could not be signed
    /// says nothing of the endpoint: [`Outcome::Cancelled`].
    fn error(&self, error: &(dyn StdError + 'static)) -> Outcome {
        #[cfg(feature = "sigv4")]
        if crate::http::sigv4::SignError::is_in(error) {
            return Outcome::Cancelled;
        }
        Outcome::of_error(error)
    }
}
