use std::time::Duration;

use http::{HeaderMap, StatusCode, response::Parts};

use crate::{
    http::{ClassifyHttp, HttpStatus},
    outcome::Outcome,
};

/// Classifies a response by its `grpc-status`, in the trailers or in the head of a response without
/// a body.
///
/// | status | outcome |
/// |---|---|
/// | `UNKNOWN`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | [`Outcome::ApplicationError`] |
/// | `RESOURCE_EXHAUSTED` | [`Outcome::Overload`], with `grpc-retry-pushback-ms` |
/// | `DEADLINE_EXCEEDED` | [`Outcome::Timeout`] |
/// | `CANCELLED` | [`Outcome::Cancelled`] |
/// | all others, which are errors of the caller | [`Outcome::Success`] |
///
/// A response with another HTTP status than 200 comes from no gRPC server and is classified by
/// [`HttpStatus`]. A `grpc-status` that is not a number is an
/// [`ApplicationError`](Outcome::ApplicationError). A response with status 200 that ends without a
/// `grpc-status` is a [`Success`](Outcome::Success).
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl ClassifyHttp for GrpcStatus {
    fn head(&self, head: &Parts) -> Outcome {
        if head.status != StatusCode::OK {
            return HttpStatus.head(head);
        }
        of_status(&head.headers).unwrap_or(Outcome::Success)
    }

    fn end(&self, head: Outcome, trailers: Option<&HeaderMap>) -> Outcome {
        trailers.and_then(of_status).unwrap_or(head)
    }
}

pub(super) fn of_status(headers: &HeaderMap) -> Option<Outcome> {
    let status = headers.get("grpc-status")?.to_str().ok().and_then(|text| text.parse().ok());
    Some(match status {
        Some(1) => Outcome::Cancelled,
        None | Some(2 | 13 | 14 | 15) => Outcome::ApplicationError,
        Some(4) => Outcome::Timeout,
        Some(8) => {
            Outcome::Overload { retry_after: Pushback::of(headers).and_then(Pushback::delay) }
        }
        Some(0_u32..) => Outcome::Success,
    })
}

/// What a server says about further attempts, in `grpc-retry-pushback-ms`.
pub(super) enum Pushback {
    /// The next attempt may follow after this delay.
    After(Duration),
    /// No attempt may follow: the value is negative or not a number.
    Stop,
}

impl Pushback {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get("grpc-retry-pushback-ms")?;
        let millis = value.to_str().ok().and_then(|text| text.parse().ok());
        Some(millis.map_or(Self::Stop, |millis| Self::After(Duration::from_millis(millis))))
    }

    fn delay(self) -> Option<Duration> {
        match self {
            Self::After(delay) => Some(delay),
            Self::Stop => None,
        }
    }
}
