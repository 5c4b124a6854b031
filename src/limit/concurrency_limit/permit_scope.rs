use super::Permit;

/// Decides how long a request keeps its permit of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
///
/// `()` releases the permit when the response begins. Over HTTP, `http::PermitUntilBodyEnd` keeps
/// it until the end of the body. An adaptive limit measures latency to the beginning of the
/// response in any case.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide how long a response of type `{Response}` keeps its permit",
    note = "pass `()` to `permit_scope` to release the permit when the response begins, or implement `PermitScope<{Response}>`"
)]
pub trait PermitScope<Response> {
    /// The response that the caller gets.
    type Response;

    /// Makes `response` keep `permit` for as long as the request counts as in flight.
    fn keep_permit(&self, response: Response, permit: Permit) -> Self::Response;
}

/// Releases the permit when the response begins.
impl<Response> PermitScope<Response> for () {
    type Response = Response;

    #[inline]
    fn keep_permit(&self, response: Response, _permit: Permit) -> Response {
        response
    }
}
