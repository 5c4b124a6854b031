//! Errors as HTTP responses.

use std::{error::Error as StdError, fmt, time::Duration};

use http::{Response, StatusCode};

use crate::{
    escape::EscapedChain,
    http_semantics::{EdgeFailure, text_response},
    lambda::{
        FunctionError, HttpBody, InvalidResponse, InvocationStatus, InvokeError, UnsupportedRequest,
    },
};

/// Why the function gave no response.
#[derive(Debug)]
pub(super) enum Failure<'a> {
    /// The request body is larger than this limit.
    TooLarge(usize),
    UnsupportedRequest(UnsupportedRequest),
    /// The client disconnected within the request, or the request is malformed.
    Body(&'a (dyn StdError + 'static)),
    Service(&'a (dyn StdError + 'static)),
    Function(FunctionError),
    Malformed(InvalidResponse),
}

impl Failure<'_> {
    /// Returns the response, and logs the cause. The response does not reveal it.
    pub(super) fn response(&self) -> Response<HttpBody> {
        let (status, text, retry_after) = self.answer();
        if status.is_server_error() {
            tracing::warn!(error = %self, status = status.as_u16(), "invocation failed");
        } else {
            tracing::debug!(error = %self, status = status.as_u16(), "request refused");
        }
        text_response(status, text, retry_after).map(HttpBody::from)
    }

    fn answer(&self) -> (StatusCode, &'static str, Option<Duration>) {
        match self {
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n", None),
            Self::UnsupportedRequest(_) | Self::Body(_) => {
                (StatusCode::BAD_REQUEST, "the request can't be passed on\n", None)
            }
            Self::Function(_) | Self::Malformed(_) => {
                (StatusCode::BAD_GATEWAY, "the function failed\n", None)
            }
            Self::Service(error) => of_service(*error),
        }
    }
}

fn of_service(error: &(dyn StdError + 'static)) -> (StatusCode, &'static str, Option<Duration>) {
    if let Some(InvokeError::TooLarge { .. }) = InvokeError::find(error) {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n", None);
    }
    let failure = EdgeFailure::of_error(error, InvocationStatus::of_error);
    let text = match failure {
        EdgeFailure::RateLimited { .. } | EdgeFailure::Overloaded { .. } => "too many requests\n",
        EdgeFailure::Unavailable => "no function available\n",
        EdgeFailure::Timeout => "the function did not answer in time\n",
        EdgeFailure::BadGateway if ran(error) => "the function failed\n",
        EdgeFailure::BadGateway => "the function could not be invoked\n",
    };
    (failure.status(), text, failure.retry_after())
}

/// Returns true if the function itself failed.
fn ran(error: &(dyn StdError + 'static)) -> bool {
    matches!(InvokeError::find(error), Some(InvokeError::FunctionFailed(_)))
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body has more than {limit} bytes"),
            Self::UnsupportedRequest(error) => error.fmt(f),
            Self::Function(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Body(error) | Self::Service(error) => write!(f, "{}", EscapedChain(*error)),
        }
    }
}
