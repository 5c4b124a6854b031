use super::Place;

/// How long an answered request keeps its place under a [`ConcurrencyLimit`](super::ConcurrencyLimit).
///
/// `()` gives it back when the response begins. Over HTTP, `http::HoldUntilBodyEnd` keeps it until the body has
/// ended. An adaptive limit goes by latencies to the beginning of the response in any case.
pub trait Hold<Response> {
    /// The response as the caller gets it.
    type Response;

    /// Makes the response keep `place` for as long as the request is under way.
    fn hold(&self, response: Response, place: Place) -> Self::Response;
}

/// Until the response begins.
impl<Response> Hold<Response> for () {
    type Response = Response;

    #[inline]
    fn hold(&self, response: Response, _place: Place) -> Response {
        response
    }
}
