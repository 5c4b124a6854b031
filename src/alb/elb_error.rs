use std::error::Error as StdError;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::target_group::IncompatibleVersion;
use crate::{
    error::{ClientError, ClientErrorKind, chain},
    http_semantics::{EdgeFailure, text_response},
    outcome::Outcome,
    rules::RewriteError,
};

/// Why the load balancer answers a request itself, by the ALB's table of HTTP errors.
///
/// | error | status |
/// |---|---|
/// | the request body failed or the request is invalid | 400 |
/// | the client sent nothing of the request body for too long | 408 |
/// | the request body is larger than a limit, or than a function accepts | 413 |
/// | a rewrite of a rule has no valid result | 500 |
/// | the protocol version of the group does not serve the request | 464 |
/// | the connection was refused or reset, the TLS handshake failed, the response is malformed or its head too long, the function failed | 502 |
/// | no target is registered, or none has room or a permit | 503 |
/// | no connection in time, or nothing of the response for the idle timeout | 504 |
///
/// Statuses of the listener are decided where the request is read, and have no variant here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElbError {
    /// The request is invalid, or its body failed: 400.
    BadRequest,
    /// The request body did not arrive in time: 408.
    RequestTimeout,
    /// The request body is too large: 413.
    PayloadTooLarge,
    /// The group's protocol version does not serve the request: 464.
    IncompatibleVersion,
    /// A rewrite of a rule has no valid result: 500.
    Internal,
    /// The target failed: 502.
    BadGateway,
    /// No target can get the request: 503.
    Unavailable,
    /// The target did not respond in time: 504.
    GatewayTimeout,
}

impl ElbError {
    /// Classifies an error of a [`TargetGroup`](super::TargetGroup), or of the layers around one.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        if chain(error).any(|error| error.is::<IncompatibleVersion>()) {
            return Self::IncompatibleVersion;
        }
        if chain(error).any(|error| error.is::<RewriteError>()) {
            return Self::Internal;
        }
        // A handshake that takes too long counts as one that fails.
        let is_tls = |error: &(dyn StdError + 'static)| {
            let error: Option<&ClientError> = error.downcast_ref();
            error.is_some_and(|error| error.kind() == ClientErrorKind::Tls)
        };
        if chain(error).any(is_tls) {
            return Self::BadGateway;
        }
        match EdgeFailure::of_error(error, Outcome::of_error) {
            EdgeFailure::BadRequest(StatusCode::REQUEST_TIMEOUT) => Self::RequestTimeout,
            EdgeFailure::BadRequest(StatusCode::PAYLOAD_TOO_LARGE) => Self::PayloadTooLarge,
            EdgeFailure::BadRequest(_) => Self::BadRequest,
            EdgeFailure::RateLimited { .. }
            | EdgeFailure::Overloaded { .. }
            | EdgeFailure::Unavailable => Self::Unavailable,
            EdgeFailure::Timeout => Self::GatewayTimeout,
            EdgeFailure::BadGateway => Self::BadGateway,
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        let code = match self {
            Self::BadRequest => 400,
            Self::RequestTimeout => 408,
            Self::PayloadTooLarge => 413,
            Self::IncompatibleVersion => 464,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
        };
        // Each number above is a valid status.
        StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// Returns the response: the status and one constant line of text, without an address of a
    /// target.
    #[must_use]
    pub fn response(self) -> Response<Bytes> {
        text_response(self.status(), self.text(), None)
    }

    fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is invalid or incomplete\n",
            Self::RequestTimeout => "the request took too long\n",
            Self::PayloadTooLarge => "the request is too large\n",
            Self::IncompatibleVersion => "the targets do not support this version of HTTP\n",
            Self::Internal => "the request could not be rewritten\n",
            Self::BadGateway => "the target failed\n",
            Self::Unavailable => "no target available\n",
            Self::GatewayTimeout => "the target did not respond in time\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;
    use crate::{
        BoxError, Error, Unavailable,
        alb::target_group::ProtocolVersion,
        endpoint::{Endpoint, EndpointId},
        limit::{RejectReason, Rejected},
        outcome::{Bound, CallerError, Elapsed},
    };

    /// The error of a target, as the balancer returns it.
    fn of_target(source: impl Into<BoxError>) -> ElbError {
        let endpoint = EndpointId::new("a", &Endpoint::new(()));
        ElbError::of(&Error::Endpoint { balancer: None, endpoint, source: source.into() })
    }

    fn io(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    fn client(kind: ClientErrorKind, source: io::ErrorKind) -> ClientError {
        ClientError::new(kind, io(source))
    }

    #[test]
    fn a_failed_request_body_is_400() {
        let error = of_target(CallerError::new(io(io::ErrorKind::ConnectionReset)));
        assert_eq!((error, error.status().as_u16()), (ElbError::BadRequest, 400));
    }

    #[test]
    fn a_slow_request_body_is_408() {
        let error = of_target(CallerError::new(io(io::ErrorKind::TimedOut)));
        assert_eq!((error, error.status().as_u16()), (ElbError::RequestTimeout, 408));
    }

    #[tokio::test]
    async fn a_request_body_beyond_a_limit_is_413() {
        use http_body_util::{BodyExt, Full, Limited};

        let body = Limited::new(Full::new(Bytes::from("too much")), 3);
        let error = of_target(CallerError::new(body.collect().await.unwrap_err()));
        assert_eq!((error, error.status().as_u16()), (ElbError::PayloadTooLarge, 413));
    }

    #[test]
    fn another_version_is_464() {
        let error = ElbError::of(&IncompatibleVersion::new(ProtocolVersion::Grpc));
        assert_eq!((error, error.status().as_u16()), (ElbError::IncompatibleVersion, 464));
    }

    #[test]
    fn failed_connections_and_responses_are_502() {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
        for error in [
            client(ClientErrorKind::Connect, ConnectionRefused),
            client(ClientErrorKind::Connection, ConnectionReset),
            client(ClientErrorKind::Connection, UnexpectedEof),
            client(ClientErrorKind::Unsent, ConnectionReset),
            client(ClientErrorKind::Tls, UnexpectedEof),
            client(ClientErrorKind::Tls, TimedOut),
        ] {
            let error = of_target(error);
            assert_eq!((error, error.status().as_u16()), (ElbError::BadGateway, 502));
        }
    }

    #[test]
    fn no_target_is_503() {
        for error in [
            Error::NoEndpoints { balancer: None },
            Error::Unavailable(Unavailable::default()),
            Error::Overloaded { balancer: None, max_outstanding: 1 },
            Error::Refused { balancer: None },
            Error::Closed { balancer: None },
        ] {
            let error = ElbError::of(&error);
            assert_eq!((error, error.status().as_u16()), (ElbError::Unavailable, 503));
        }
        let rejected = Rejected::new("a", RejectReason::QueueFull { limit: 1 });
        assert_eq!(ElbError::of(&rejected), ElbError::Unavailable);
    }

    #[test]
    fn a_target_that_takes_too_long_is_504() {
        let elapsed = |bound| Elapsed::new(bound, Duration::from_secs(60));
        for error in [
            of_target(client(ClientErrorKind::Connect, io::ErrorKind::TimedOut)),
            of_target(elapsed(Bound::FirstByte)),
            of_target(elapsed(Bound::IdleBody)),
        ] {
            assert_eq!((error, error.status().as_u16()), (ElbError::GatewayTimeout, 504));
        }
    }

    #[test]
    fn a_response_says_nothing_about_targets() {
        let response = ElbError::BadGateway.response();
        assert_eq!(
            (response.status(), &response.body()[..]),
            (StatusCode::BAD_GATEWAY, &b"the target failed\n"[..])
        );
    }
}
