use std::error::Error as StdError;

use super::{Attempt, Classify, Outcome, ResultOnly};

/// Decides when an attempt is over, and records its outcome then.
///
/// The balancer calls it with each result. If a protocol's response is more than one value, a
/// tracker wraps the response, which then contains the [`Attempt`]. For all other protocols there
/// is [`OnResponse`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not track responses of type `{Response}`",
    note = "use `OnResponse::new(classifier)`, or for HTTP `Builder::http()` and endpoints that return an `http::Response`"
)]
pub trait Track<Response> {
    /// The balancer's response: the endpoint's, or a wrapper of it.
    type Response;

    /// Handles a response of the endpoint.
    fn response(&self, response: Response, attempt: Attempt) -> Self::Response;

    /// Handles an error of the endpoint's service. By default, the attempt is over, with the
    /// outcome that [`Outcome::of_error`] returns.
    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(Outcome::of_error(error));
    }
}

/// A tracker for which an attempt is over at the response, with the outcome that the classifier
/// returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnResponse<C = ResultOnly>(C);

impl<C> OnResponse<C> {
    /// Creates a tracker that classifies responses with `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl<C, Response> Track<Response> for OnResponse<C>
where
    C: Classify<Response>,
{
    type Response = Response;

    // Always inlined, as `finish` is.
    #[inline(always)]
    fn response(&self, response: Response, attempt: Attempt) -> Response {
        attempt.finish(self.0.classify(Ok(&response)));
        response
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(self.0.classify(Err(error)));
    }
}
