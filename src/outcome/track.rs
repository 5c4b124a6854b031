use std::error::Error as StdError;

use super::{Attempt, Classify, ResultOnly};

/// Decides when an attempt is over, and sees to it that its outcome is recorded then.
///
/// The balancer calls it with each result. For protocols whose response is more than one value, a
/// tracker wraps the response so that the [`Attempt`] lives on in it; for all others
/// [`OnResponse`] will do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not track responses of type `{Response}`",
    note = "use `OnResponse::new(classifier)`, or for HTTP `http::builder()` and endpoints that return an `http::Response`"
)]
pub trait Track<Response> {
    /// What the caller of the balancer gets: the response, perhaps wrapped.
    type Response;

    /// The endpoint has answered.
    fn response(&self, response: Response, attempt: Attempt) -> Self::Response;

    /// The endpoint's service has failed.
    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt);
}

/// The attempt is over when the response is there; its outcome is what the classifier says.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnResponse<C = ResultOnly>(C);

impl<C> OnResponse<C> {
    /// Classifies by `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl<C, Response> Track<Response> for OnResponse<C>
where
    C: Classify<Response>,
{
    type Response = Response;

    #[inline]
    fn response(&self, response: Response, attempt: Attempt) -> Response {
        attempt.finish(self.0.classify(Ok(&response)));
        response
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(self.0.classify(Err(error)));
    }
}
