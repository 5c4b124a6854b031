//! Errors as HTTP responses.

use std::{error::Error as StdError, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    escape::EscapedChain,
    lambda::{
        FunctionError, HttpBody, InvalidResponse, InvocationStatus, InvokeError, UnsupportedRequest,
    },
    limit::{Rejected, is_rejected},
    outcome::Outcome,
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
        let mut response = Response::new(HttpBody::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        if let Some(delay) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
        }
        response
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
    if let Some(rejected) = Rejected::find(error) {
        let delay = match rejected {
            Rejected::Rate { retry_after } => Some(*retry_after),
            _ => None,
        };
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests\n", delay);
    }
    if is_rejected(error) {
        return (StatusCode::SERVICE_UNAVAILABLE, "no function available\n", None);
    }
    match InvocationStatus::of_error(error) {
        Outcome::Overload { retry_after } => {
            let delay = retry_after.unwrap_or(Duration::from_secs(1));
            (StatusCode::SERVICE_UNAVAILABLE, "too many requests\n", Some(delay))
        }
        Outcome::Timeout => {
            (StatusCode::GATEWAY_TIMEOUT, "the function did not answer in time\n", None)
        }
        Outcome::ApplicationError if ran(error) => {
            (StatusCode::BAD_GATEWAY, "the function failed\n", None)
        }
        _ => (StatusCode::BAD_GATEWAY, "the function could not be invoked\n", None),
    }
}

/// Returns true if the function itself failed.
fn ran(error: &(dyn StdError + 'static)) -> bool {
    matches!(InvokeError::find(error), Some(InvokeError::FunctionFailed(_)))
}

/// Rounded up: not too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
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
