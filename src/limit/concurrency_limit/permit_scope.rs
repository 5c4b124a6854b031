use super::Permit;

/// How long an answered request keeps its place under a [`ConcurrencyLimit`](super::ConcurrencyLimit).
///
/// `()` gives it back when the response begins. Over HTTP, `http::PermitUntilBodyEnd` keeps it until the body has
/// ended. An adaptive limit goes by latencies to the beginning of the response in any case.
pub trait PermitScope<Response> {
    /// The response as the caller gets it.
    type Response;

    /// Makes the response keep `permit` for as long as the request is under way.
    fn keep_permit(&self, response: Response, permit: Permit) -> Self::Response;
}

/// Until the response begins.
impl<Response> PermitScope<Response> for () {
    type Response = Response;

    #[inline]
    fn keep_permit(&self, response: Response, _permit: Permit) -> Response {
        response
    }
}
