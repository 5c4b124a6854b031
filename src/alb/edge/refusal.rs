use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::http_semantics::text_response;

/// Why the load balancer answers a request before the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `TRACE`, which no target gets.
    TraceNotAllowed,
    /// `X-Forwarded-For` names more than 30 addresses.
    TooManyAddresses,
    /// The filter does not admit the request.
    Filtered,
    FilterFailed,
}

impl Refusal {
    pub(super) fn respond(self) -> Response<Bytes> {
        let (status, text) = match self {
            Self::TraceNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
            Self::TooManyAddresses => (too_many_addresses(), "too many forwarded addresses\n"),
            Self::Filtered => (StatusCode::FORBIDDEN, "forbidden\n"),
            Self::FilterFailed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "the request could not be checked\n")
            }
        };
        let mut response = text_response(status, text, None);
        if self == Self::TraceNotAllowed {
            let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            response.headers_mut().insert(header::ALLOW, methods);
        }
        response
    }
}

/// AWS's own status 463.
fn too_many_addresses() -> StatusCode {
    StatusCode::from_u16(463).unwrap_or(StatusCode::BAD_REQUEST)
}
