use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Version, header, request::Parts};

use crate::{escape::Escaped, http_semantics::text_response};

/// Why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request can't be forwarded, or not in a form that has one meaning.
    Invalid(&'static str),
    /// `CONNECT` without permission.
    ConnectNotAllowed,
    /// A `TRACE` whose last hop is here.
    TraceNotAllowed,
    /// The request body stopped for longer than the limit.
    BodyTimeout,
    /// The request body exceeds the limit.
    BodyTooLarge,
    /// The request target exceeds the limit.
    TargetTooLong,
    /// An `Expect` that is not `100-continue`.
    Expectation,
    /// The header fields exceed the limit in number or in size.
    HeadersTooLarge,
    /// A transfer coding or a protocol that is not known.
    NotImplemented(&'static str),
    /// An `OPTIONS` whose last hop is here.
    LastHop,
    /// The response of the endpoint cannot be forwarded.
    BadGateway(&'static str),
    /// An upgrade while the tunnels are drained.
    Draining,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::ConnectNotAllowed | Self::TraceNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::LastHop => StatusCode::NO_CONTENT,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the line of text in the body. It repeats nothing of the request.
    fn text(self) -> String {
        match self {
            Self::Invalid(what) => format!("bad request: {what}\n"),
            Self::NotImplemented(what) => format!("not implemented: {what}\n"),
            Self::ConnectNotAllowed | Self::TraceNotAllowed => "method not allowed\n".to_owned(),
            Self::BodyTimeout => "the request body stopped\n".to_owned(),
            Self::BodyTooLarge => "the request body is too large\n".to_owned(),
            Self::TargetTooLong => "the request target is too long\n".to_owned(),
            Self::Expectation => "unknown expectation\n".to_owned(),
            Self::HeadersTooLarge => "the request header fields are too large\n".to_owned(),
            Self::LastHop => String::new(),
            Self::BadGateway(_) => "the response of the endpoint is invalid\n".to_owned(),
            Self::Draining => "the server is stopping\n".to_owned(),
        }
    }

    /// Returns whether the rest of the connection is not read as requests: it may be the body, or
    /// the first bytes for a tunnel.
    fn closes(self) -> bool {
        !matches!(
            self,
            Self::TraceNotAllowed | Self::LastHop | Self::BadGateway(_) | Self::Draining
        )
    }

    /// Returns the response, for a client whose connection has the given version.
    pub(super) fn respond(self, version: Version) -> Response<Bytes> {
        let mut response = text_response(self.status(), self.text(), None);
        let headers = response.headers_mut();
        if self.closes() && version < Version::HTTP_2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::ConnectNotAllowed | Self::TraceNotAllowed | Self::LastHop) {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self == Self::LastHop {
            headers.remove(header::CONTENT_TYPE);
        }
        response
    }

    /// Logs the refusal. The client is at fault, so the level is `DEBUG`.
    pub(super) fn log(self, head: &Parts) {
        tracing::debug!(
            status = self.status().as_u16(),
            reason = %self.text().trim_end(),
            method = %head.method,
            target = %Escaped(&head.uri),
            "request refused"
        );
    }
}
