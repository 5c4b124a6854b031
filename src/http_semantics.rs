//! What the HTTP semantics of RFC 9110 say about requests and failures, for every edge that serves
//! HTTP: [`http`](crate::http) and [`lambda`](crate::lambda).

#![cfg_attr(not(all(feature = "http", feature = "lambda")), allow(dead_code))]

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use crate::{
    Error,
    error::chain,
    header_fields::elements,
    limit::{RejectReason, Rejected, is_rejected},
    outcome::{Fault, Outcome, is_timeout},
    retry::RetrySafety,
};

/// Returns the [`RetrySafety`] that the caller put into the extensions of the request.
pub(crate) fn explicit_retry_safety(head: &Parts) -> Option<RetrySafety> {
    head.extensions.get().copied()
}

/// Returns when a request may be sent more than once, by its method and its headers.
///
/// | request | safety |
/// |---|---|
/// | `CONNECT`, or with an `Upgrade` to another protocol than `h2c` | [`RetrySafety::IfUnsent`] |
/// | with an idempotent method (RFC 9110, 9.2.2) | [`RetrySafety::Idempotent`] |
/// | with an `Idempotency-Key` | [`RetrySafety::Idempotent`] |
/// | any other | [`RetrySafety::IfUnsent`] |
pub(crate) fn retry_safety_by_head(head: &Parts) -> RetrySafety {
    safety_of_switch(retry_safety_of_message(head), head)
}

/// Limits the safety of a request that asks for another protocol: a second attempt would open a
/// second session.
pub(crate) fn safety_of_switch(safety: RetrySafety, head: &Parts) -> RetrySafety {
    let switches = head.method == Method::CONNECT || switches_protocols(&head.headers);
    if switches && safety == RetrySafety::Idempotent { RetrySafety::IfUnsent } else { safety }
}

/// Returns whether `Upgrade` names a protocol other than HTTP. Curl and Java offer `h2c` with each
/// request, which changes nothing of its meaning.
fn switches_protocols(headers: &HeaderMap) -> bool {
    elements(headers, &header::UPGRADE).any(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// Returns when a request may be sent more than once if it becomes a message that cannot upgrade a
/// connection, such as an invocation.
pub(crate) fn retry_safety_of_message(head: &Parts) -> RetrySafety {
    if head.method.is_idempotent() || head.headers.contains_key("idempotency-key") {
        RetrySafety::Idempotent
    } else {
        RetrySafety::IfUnsent
    }
}

/// The `Retry-After` of an overload that does not say when it ends.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why an edge answers a request itself, as a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeFailure {
    /// The request is invalid, or its body failed: 400; did not arrive in time: 408; was longer
    /// than a limit on it: 413.
    BadRequest(StatusCode),
    /// A rate limit rejected the request: 429.
    RateLimited { retry_after: Duration },
    /// The request met a limit on concurrency or an overloaded endpoint: 503 with `Retry-After`.
    Overloaded { retry_after: Duration },
    /// No endpoint can get the request: 503.
    Unavailable,
    /// There was no response in time: 504.
    Timeout,
    /// The endpoint failed in any other way: 502.
    BadGateway,
}

impl EdgeFailure {
    /// Classifies an error. `outcome` is what the error says about the endpoint, if one got the
    /// request.
    pub(crate) fn of_error(
        error: &(dyn StdError + 'static),
        outcome: impl FnOnce(&(dyn StdError + 'static)) -> Outcome,
    ) -> Self {
        let is_overload = |error: &(dyn StdError + 'static)| {
            matches!(error.downcast_ref(), Some(Error::Overloaded { .. }))
        };
        match Rejected::find(error).map(Rejected::reason) {
            Some(RejectReason::Rate { retry_after }) => Self::RateLimited { retry_after },
            Some(_) => Self::Overloaded { retry_after: DEFAULT_RETRY_AFTER },
            None if chain(error).any(is_overload) => {
                Self::Overloaded { retry_after: DEFAULT_RETRY_AFTER }
            }
            None if is_rejected(error) => Self::Unavailable,
            None if Fault::of(error) == Some(Fault::Caller) => Self::of_caller(error),
            None => match outcome(error) {
                Outcome::Overload { retry_after } => {
                    Self::Overloaded { retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER) }
                }
                Outcome::Timeout => Self::Timeout,
                _ => Self::BadGateway,
            },
        }
    }

    fn of_caller(error: &(dyn StdError + 'static)) -> Self {
        #[cfg(feature = "http")]
        if chain(error).any(|error| error.is::<http_body_util::LengthLimitError>()) {
            return Self::BadRequest(StatusCode::PAYLOAD_TOO_LARGE);
        }
        #[cfg(feature = "sigv4")]
        if chain(error).any(|error| {
            use crate::error::SignError;
            matches!(error.downcast_ref(), Some(SignError::TooLarge { .. }))
        }) {
            return Self::BadRequest(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let is_late = chain(error).any(is_timeout);
        Self::BadRequest(if is_late {
            StatusCode::REQUEST_TIMEOUT
        } else {
            StatusCode::BAD_REQUEST
        })
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(status) => status,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded { .. } | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
        }
    }

    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after } => {
                Some(retry_after)
            }
            Self::BadRequest(_) | Self::Unavailable | Self::Timeout | Self::BadGateway => None,
        }
    }
}

/// Marks a response that no endpoint has sent, and no function.
#[derive(Clone, Copy)]
pub(crate) struct FromGateway;

/// Returns a response with a body of plain text.
pub(crate) fn text_response(
    status: StatusCode,
    text: impl Into<Bytes>,
    retry_after: Option<Duration>,
) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, plain);
    if let Some(delay) = retry_after {
        // Rounded up, so that the client does not retry too early.
        let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::{
        endpoint::{Endpoint, EndpointId},
        outcome::CallerError,
    };

    #[test]
    fn the_method_and_the_headers_decide_whether_a_request_is_idempotent() {
        let safety = |method: &str, header: &'static str| {
            let request = Request::builder().method(method).header(header, "1");
            retry_safety_by_head(&request.body(()).unwrap().into_parts().0)
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert_eq!(safety(method, "accept"), RetrySafety::Idempotent, "{method}");
        }
        for method in ["POST", "PATCH", "BREW"] {
            assert_eq!(safety(method, "accept"), RetrySafety::IfUnsent, "{method}");
            assert_eq!(safety(method, "idempotency-key"), RetrySafety::Idempotent, "{method}");
        }
        assert_eq!(safety("CONNECT", "idempotency-key"), RetrySafety::IfUnsent);
        for (protocols, expected) in [
            ("h2c", RetrySafety::Idempotent),
            ("H2C, ", RetrySafety::Idempotent),
            ("websocket", RetrySafety::IfUnsent),
            ("h2c, websocket", RetrySafety::IfUnsent),
        ] {
            let request = Request::get("/").header("upgrade", protocols).body(()).unwrap();
            assert_eq!(retry_safety_by_head(&request.into_parts().0), expected, "{protocols}");
        }
    }

    #[test]
    fn the_extensions_can_set_the_safety() {
        let request = Request::get("/").extension(RetrySafety::Never).body(()).unwrap();
        assert_eq!(explicit_retry_safety(&request.into_parts().0), Some(RetrySafety::Never));
    }

    #[test]
    fn an_error_stands_for_a_status_and_a_delay() {
        let failure = |error: &(dyn StdError + 'static)| {
            let failure = EdgeFailure::of_error(error, Outcome::of_error);
            (failure.status().as_u16(), failure.retry_after().map(|delay| delay.as_millis()))
        };
        let rate = RejectReason::Rate { retry_after: Duration::from_millis(1200) };
        assert_eq!(failure(&Rejected::new("a", rate)), (429, Some(1200)));
        let full = RejectReason::QueueFull { limit: 1 };
        assert_eq!(failure(&Rejected::new("a", full)), (503, Some(1000)));
        assert_eq!(
            failure(&Error::Overloaded { balancer: None, max_outstanding: 1 }),
            (503, Some(1000))
        );
        assert_eq!(failure(&Error::NoEndpoints { balancer: None }), (503, None));
        let endpoint = |source: std::io::ErrorKind| {
            let endpoint = EndpointId::new("a", &Endpoint::new(()));
            Error::Endpoint {
                balancer: None,
                endpoint,
                source: Box::new(std::io::Error::from(source)),
            }
        };
        let caller = |source| CallerError::new(std::io::Error::from(source));
        assert_eq!(failure(&caller(std::io::ErrorKind::ConnectionReset)), (400, None));
        assert_eq!(failure(&caller(std::io::ErrorKind::TimedOut)), (408, None));
        assert_eq!(failure(&endpoint(std::io::ErrorKind::TimedOut)), (504, None));
        assert_eq!(failure(&endpoint(std::io::ErrorKind::ConnectionRefused)), (502, None));
    }

    #[test]
    fn an_overloaded_endpoint_is_answered_with_its_own_delay() {
        let failure = |retry_after| {
            let outcome = |_: &(dyn StdError + 'static)| Outcome::Overload { retry_after };
            EdgeFailure::of_error(&std::io::Error::other("busy"), outcome).retry_after()
        };
        assert_eq!(failure(Some(Duration::from_secs(3))), Some(Duration::from_secs(3)));
        assert_eq!(failure(None), Some(DEFAULT_RETRY_AFTER));
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            let delay = Some(Duration::from_millis(millis));
            let response = text_response(StatusCode::SERVICE_UNAVAILABLE, "", delay);
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds);
        }
    }
}
