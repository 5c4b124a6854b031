use std::error::Error as StdError;

use http::{HeaderMap, Response, StatusCode, response::Parts};

use super::retry_after::retry_after;
use crate::{
    http::ClassifyHttp,
    outcome::{Classify, Outcome},
};

/// Classifies a response by its status.
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
    fn head(&self, head: &Parts) -> Option<Outcome> {
        Some(of_status(head.status, &head.headers))
    }
}

/// For services that see whole responses, such as limits.
impl<B> Classify<Response<B>> for HttpStatus {
    fn classify(&self, result: Result<&Response<B>, &(dyn StdError + 'static)>) -> Outcome {
        match result {
            Ok(response) => of_status(response.status(), response.headers()),
            Err(error) => self.error(error),
        }
    }
}

pub(super) fn of_status(status: StatusCode, headers: &HeaderMap) -> Outcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Outcome::Overload { retry_after: retry_after(headers) }
        }
        StatusCode::GATEWAY_TIMEOUT => Outcome::Timeout,
        status if status.is_server_error() => Outcome::ApplicationError,
        _ => Outcome::Success,
    }
}
