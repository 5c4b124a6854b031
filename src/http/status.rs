use http::{StatusCode, response::Parts};

use super::{ClassifyHttp, retry_after::retry_after};
use crate::outcome::Outcome;

/// Judges a response by its status.
///
/// | status | outcome |
/// |---|---|
/// | 429, 503 | [`Overload`](Outcome::Overload), with `Retry-After` |
/// | 504 | [`Timeout`](Outcome::Timeout) |
/// | other 5xx | [`ApplicationError`](Outcome::ApplicationError) |
/// | all others | [`Success`](Outcome::Success) |
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpStatus;

impl ClassifyHttp for HttpStatus {
    fn head(&self, head: &Parts) -> Outcome {
        match head.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Outcome::Overload { retry_after: retry_after(&head.headers) }
            }
            StatusCode::GATEWAY_TIMEOUT => Outcome::Timeout,
            status if status.is_server_error() => Outcome::ApplicationError,
            _ => Outcome::Success,
        }
    }
}
