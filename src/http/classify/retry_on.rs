use std::error::Error as StdError;

use http::{HeaderMap, Response, StatusCode};

use super::{
    grpc_status::{self, Pushback},
    http_status,
};
use crate::{
    endpoint::EndpointId,
    outcome::Outcome,
    retry::{RetryDecision, RetryPolicy},
};

/// Selects the HTTP and gRPC responses that are retried.
///
/// [`RetryDecision::of_error`] decides for errors.
///
/// 421 (Misdirected Request), if it is selected, is [`Refused`](RetryDecision::Refused): the server
/// has not processed the request, and another connection may help (RFC 9110, 15.5.20). All other
/// statuses are [`Failed`](RetryDecision::Failed). Even 408 is no proof that the request was not
/// processed, because servers also send it when a handler takes too long. 425 (Too Early) is not
/// retried: it concerns early data, which clients of this crate do not send by themselves.
///
/// `Retry-After` and `grpc-retry-pushback-ms` are honoured. A pushback that is negative or not a
/// number means that the server accepts no further attempt.
#[derive(Clone, Debug)]
pub struct RetryOn {
    statuses: Vec<StatusCode>,
    codes: Vec<u32>,
}

impl RetryOn {
    /// Retries 421, 429, 502, 503 and 504, but not 500, which usually recurs.
    #[must_use]
    pub fn http() -> Self {
        use StatusCode as S;
        let statuses = [
            S::MISDIRECTED_REQUEST,
            S::TOO_MANY_REQUESTS,
            S::BAD_GATEWAY,
            S::SERVICE_UNAVAILABLE,
            S::GATEWAY_TIMEOUT,
        ];
        Self { statuses: statuses.into(), codes: Vec::new() }
    }

    /// Retries `UNAVAILABLE` (14) in the head of a response, and the statuses of
    /// [`http`](Self::http).
    ///
    /// A status in the trailers is not retried, because the caller already has the head. gRPC's own
    /// retries are committed by then, too (gRFC A6).
    #[must_use]
    pub fn grpc() -> Self {
        Self { codes: vec![14], ..Self::http() }
    }

    setters! {
        /// Replaces the HTTP statuses that are retried.
        pub fn statuses(statuses: impl IntoIterator<Item = StatusCode>)
            => statuses = statuses.into_iter().collect();
        /// Replaces the gRPC codes that are retried. The head of a response without a
        /// `grpc-status` has the code that [`GrpcStatus`](crate::http::GrpcStatus) maps it to.
        pub fn codes(codes: impl IntoIterator<Item = u32>) => codes = codes.into_iter().collect();
    }

    fn has_code(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        grpc_status::code_of_head(status, headers).is_some_and(|code| self.codes.contains(&code))
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self::http()
    }
}

impl<B> RetryPolicy<Response<B>> for RetryOn {
    #[inline]
    fn decide(&self, result: Result<&Response<B>, &(dyn StdError + 'static)>) -> RetryDecision {
        let response = match result {
            Ok(response) => response,
            Err(error) => return RetryDecision::of_error(error),
        };
        let (status, headers) = (response.status(), response.headers());
        let by_code = !self.codes.is_empty() && self.has_code(status, headers);
        if !by_code && !self.statuses.contains(&status) {
            return RetryDecision::Final;
        }
        let outcome = match Pushback::of(headers) {
            Some(Pushback::Stop) => return RetryDecision::Final,
            Some(Pushback::After(delay)) => Outcome::Overload { retry_after: Some(delay) },
            None if by_code => grpc_status::of_head(status, headers).unwrap_or(Outcome::Success),
            None => http_status::of_status(status, headers),
        };
        if status == StatusCode::MISDIRECTED_REQUEST {
            return RetryDecision::Refused(Outcome::ApplicationError);
        }
        // The caller selected this status for retries, so it is a failure even if it is a success
        // for the outcome, as 404 is.
        RetryDecision::Failed(if outcome.is_failure() {
            outcome
        } else {
            Outcome::ApplicationError
        })
    }

    fn endpoint<'r>(&self, response: &'r Response<B>) -> Option<&'r EndpointId> {
        response.extensions().get()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn decision(
        on: &RetryOn,
        status: u16,
        headers: &[(&'static str, &'static str)],
    ) -> RetryDecision {
        let response =
            headers.iter().fold(Response::builder().status(status), |builder, header| {
                builder.header(header.0, header.1)
            });
        on.decide(Ok(&response.body(()).unwrap()))
    }

    fn overload(millis: u64) -> RetryDecision {
        RetryDecision::Failed(Outcome::Overload {
            retry_after: Some(Duration::from_millis(millis)),
        })
    }

    const BUSY: RetryDecision = RetryDecision::Failed(Outcome::Overload { retry_after: None });
    const BROKEN: RetryDecision = RetryDecision::Failed(Outcome::ApplicationError);

    #[test]
    fn gateway_errors_and_overload_are_tried_again() {
        let on = RetryOn::http();
        let late = RetryDecision::Failed(Outcome::Timeout);
        for (status, expected) in [(429, BUSY), (502, BROKEN), (503, BUSY), (504, late)] {
            assert_eq!(decision(&on, status, &[]), expected, "{status}");
        }
        for status in [200, 301, 404, 408, 425, 500, 501] {
            assert_eq!(decision(&on, status, &[]), RetryDecision::Final, "{status}");
        }
        assert_eq!(decision(&on, 503, &[("retry-after", "2")]), overload(2000));
        let refused = RetryDecision::Refused(Outcome::ApplicationError);
        assert_eq!(decision(&on, 421, &[]), refused, "another connection may help a POST, too");
        let on = on.statuses([StatusCode::INTERNAL_SERVER_ERROR, StatusCode::NOT_FOUND]);
        assert_eq!(decision(&on, 500, &[]), BROKEN);
        assert_eq!(decision(&on, 404, &[]), BROKEN);
        assert_eq!(decision(&on, 503, &[]), RetryDecision::Final);
    }

    #[test]
    fn grpc_codes_and_pushback_are_honoured() {
        let on = RetryOn::grpc();
        assert_eq!(decision(&on, 200, &[("grpc-status", "14")]), BROKEN);
        assert_eq!(decision(&on, 200, &[("grpc-status", "13")]), RetryDecision::Final);
        assert_eq!(decision(&on, 200, &[("grpc-status", "0")]), RetryDecision::Final);
        assert_eq!(decision(&on, 503, &[]), BUSY);
        let pushback =
            |value| decision(&on, 200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", value)]);
        assert_eq!(pushback("70"), overload(70));
        assert_eq!(pushback("-1"), RetryDecision::Final);
        assert_eq!(pushback("soon"), RetryDecision::Final);
        let on = on.codes([2, 13]).statuses([]);
        assert_eq!(decision(&on, 400, &[]), BROKEN, "INTERNAL");
        assert_eq!(decision(&on, 418, &[]), BROKEN, "UNKNOWN");
        assert_eq!(decision(&on, 200, &[("content-type", "text/html")]), BROKEN, "UNKNOWN");
        assert_eq!(decision(&on, 404, &[]), RetryDecision::Final, "UNIMPLEMENTED");
        assert_eq!(decision(&on, 503, &[]), RetryDecision::Final, "UNAVAILABLE");
        let on = on.codes([8]);
        assert_eq!(decision(&on, 200, &[("grpc-status", "8")]), BUSY);
    }
}
