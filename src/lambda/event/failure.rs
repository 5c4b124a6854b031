//! Errors as HTTP responses. The cause is logged, and the response does not reveal it.

use std::{error::Error as StdError, fmt::Display, time::Duration};

use http::{Response, StatusCode};

use crate::{
    escape::EscapedChain,
    http_semantics::{EdgeFailure, FromGateway, text_response},
    lambda::{HttpBody, InvocationStatus, InvokeError},
};

/// The request body is larger than `limit`.
pub(super) fn too_large(limit: usize) -> Response<HttpBody> {
    let cause = format_args!("the body has more than {limit} bytes");
    respond(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n", None, cause)
}

/// The format can't express the request, the client disconnected within it, or it is malformed.
pub(super) fn bad_request(cause: impl Display) -> Response<HttpBody> {
    respond(StatusCode::BAD_REQUEST, "the request can't be passed on\n", None, cause)
}

/// The function failed, or its response is invalid.
pub(super) fn bad_response(cause: impl Display) -> Response<HttpBody> {
    respond(StatusCode::BAD_GATEWAY, "the function failed\n", None, cause)
}

/// The inner service failed.
pub(super) fn of_service(error: &(dyn StdError + 'static)) -> Response<HttpBody> {
    let cause = EscapedChain(error);
    let invoke_error = InvokeError::find(error);
    if let Some(InvokeError::TooLarge { .. }) = invoke_error {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return respond(status, "the request is too large\n", None, cause);
    }
    let ran = matches!(invoke_error, Some(InvokeError::FunctionFailed(_)));
    let failure = EdgeFailure::of_error(error, InvocationStatus::of_error);
    let text = match failure {
        EdgeFailure::BadRequest(_) => "the request can't be passed on\n",
        EdgeFailure::RateLimited { .. } | EdgeFailure::Overloaded { .. } => "too many requests\n",
        EdgeFailure::Unavailable => "no function available\n",
        EdgeFailure::Timeout => "the function did not answer in time\n",
        EdgeFailure::BadGateway if ran => "the function failed\n",
        EdgeFailure::BadGateway => "the function could not be invoked\n",
    };
    respond(failure.status(), text, failure.retry_after(), cause)
}

fn respond(
    status: StatusCode,
    text: &'static str,
    retry_after: Option<Duration>,
    cause: impl Display,
) -> Response<HttpBody> {
    if status.is_server_error() {
        tracing::warn!(error = %cause, status = status.as_u16(), "invocation failed");
    } else {
        tracing::debug!(error = %cause, status = status.as_u16(), "request refused");
    }
    let mut response = text_response(status, text, retry_after).map(HttpBody::from);
    response.extensions_mut().insert(FromGateway);
    response
}
