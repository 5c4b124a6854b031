use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE, response::Parts};

use super::http_status;
use crate::{http::ClassifyHttp, outcome::Outcome};

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
/// A status that is not one of gRPC's numbers is `UNKNOWN`. A response without a `grpc-status`
/// comes from no gRPC server, or from one that failed. It has the status that gRPC's clients give
/// it:
///
/// | response without `grpc-status` | status |
/// |---|---|
/// | HTTP 400 | `INTERNAL` |
/// | HTTP 401 | `UNAUTHENTICATED` |
/// | HTTP 403 | `PERMISSION_DENIED` |
/// | HTTP 404 | `UNIMPLEMENTED` |
/// | HTTP 429, 502, 503, 504 | `UNAVAILABLE` |
/// | any other HTTP status than 200 | `UNKNOWN` |
/// | HTTP 200 with a content type other than `application/grpc` | `UNKNOWN` |
/// | HTTP 200 that ends without trailers, or whose trailers have no status | `INTERNAL` |
///
/// HTTP 429 and 503 are still an [`Overload`](Outcome::Overload), with `Retry-After`, and 504 is a
/// [`Timeout`](Outcome::Timeout), as for [`HttpStatus`](crate::http::HttpStatus). A response of
/// gRPC-Web has its trailers in its body, which is not read: HTTP 200 is a success.
///
/// Source: gRPC's `PROTOCOL-HTTP2.md` and `http-grpc-status-mapping.md`. These name no status for
/// HTTP 200 that ends without one; `INTERNAL` is that of grpc-go.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl ClassifyHttp for GrpcStatus {
    fn head(&self, head: &Parts) -> Option<Outcome> {
        of_head(head.status, &head.headers)
    }

    fn end(&self, head: Option<Outcome>, trailers: Option<&HeaderMap>) -> Outcome {
        let status = trailers.and_then(|trailers| Some(of_code(code(trailers)?, trailers)));
        status.or(head).unwrap_or(Outcome::ApplicationError)
    }
}

const UNKNOWN: u32 = 2;
/// The highest code: `UNAUTHENTICATED`.
const MAX_CODE: u32 = 16;

/// Returns the outcome of a response if its head tells; `None` if its trailers will.
pub(super) fn of_head(status: StatusCode, headers: &HeaderMap) -> Option<Outcome> {
    if status != StatusCode::OK && !headers.contains_key(GRPC_STATUS) {
        // Where both tell of a failure, HTTP tells more.
        let outcome = http_status::of_status(status, headers);
        return Some(if outcome.is_failure() {
            outcome
        } else {
            of_code(code_of_http(status), headers)
        });
    }
    match code_of_head(status, headers) {
        Some(code) => Some(of_code(code, headers)),
        None => is_grpc_web(headers).then_some(Outcome::Success),
    }
}

/// Returns the code of a response if its head tells; `None` if its trailers will.
pub(super) fn code_of_head(status: StatusCode, headers: &HeaderMap) -> Option<u32> {
    match code(headers) {
        Some(code) => Some(code),
        None if status != StatusCode::OK => Some(code_of_http(status)),
        None => is_not_grpc(headers).then_some(UNKNOWN),
    }
}

const GRPC_STATUS: &str = "grpc-status";

fn code(headers: &HeaderMap) -> Option<u32> {
    let code = headers.get(GRPC_STATUS)?.to_str().ok().and_then(|code| code.parse().ok());
    Some(code.filter(|&code| code <= MAX_CODE).unwrap_or(UNKNOWN))
}

fn code_of_http(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    }
}

fn of_code(code: u32, headers: &HeaderMap) -> Outcome {
    match code {
        1 => Outcome::Cancelled,
        2 | 13 | 14 | 15 => Outcome::ApplicationError,
        4 => Outcome::Timeout,
        8 => Outcome::Overload { retry_after: Pushback::of(headers).and_then(Pushback::delay) },
        _ => Outcome::Success,
    }
}

/// Returns what follows `application/grpc` in the content type.
fn grpc_suffix(content_type: &HeaderValue) -> Option<&[u8]> {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = content_type.as_bytes().split_at_checked(GRPC.len())?;
    start.eq_ignore_ascii_case(GRPC).then_some(rest)
}

/// A missing content type proves nothing: gRPC's clients differ, and some accept it.
fn is_not_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| {
        let next = grpc_suffix(content_type).map(|rest| rest.first());
        !matches!(next, Some(None | Some(b'+' | b'-' | b';' | b' ')))
    })
}

fn is_grpc_web(headers: &HeaderMap) -> bool {
    let suffix = headers.get(CONTENT_TYPE).and_then(grpc_suffix);
    suffix.is_some_and(|rest| rest.starts_with(b"-web"))
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

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn judge(status: u16, head: Fields, trailers: Option<Fields>) -> Outcome {
        let headers = |fields: Fields| -> HeaderMap {
            let field = |&(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            fields.iter().map(field).collect()
        };
        let (mut parts, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
        parts.headers = headers(head);
        let head = GrpcStatus.head(&parts);
        match head {
            Some(failure) if failure.is_failure() => failure,
            head => GrpcStatus.end(head, trailers.map(headers).as_ref()),
        }
    }

    const GRPC: Fields = &[("content-type", "application/grpc")];
    const OK: Option<Fields> = Some(&[("grpc-status", "0")]);

    #[test]
    fn a_response_that_ends_without_a_status_is_a_failure() {
        assert_eq!(judge(200, GRPC, OK), Outcome::Success);
        assert_eq!(judge(200, GRPC, None), Outcome::ApplicationError);
        assert_eq!(judge(200, GRPC, Some(&[("x", "y")])), Outcome::ApplicationError);
        assert_eq!(judge(200, &[], None), Outcome::ApplicationError);
        assert_eq!(judge(200, &[], OK), Outcome::Success, "no content type proves nothing");
        let only = |status| judge(200, status, None);
        assert_eq!(only(&[("grpc-status", "0")]), Outcome::Success);
        assert_eq!(only(&[("grpc-status", "1")]), Outcome::Cancelled);
        for unknown in ["17", "-1", "zero", ""] {
            let trailers: Fields = Box::leak(Box::new([("grpc-status", unknown)]));
            assert_eq!(judge(200, GRPC, Some(trailers)), Outcome::ApplicationError, "{unknown}");
        }
    }

    #[test]
    fn the_content_type_tells_a_page_from_a_message() {
        for (content_type, expected) in [
            ("text/html", Outcome::ApplicationError),
            ("application/json", Outcome::ApplicationError),
            ("application/grpcx", Outcome::ApplicationError),
            ("application/grp", Outcome::ApplicationError),
            ("Application/gRPC+proto", Outcome::Success),
            ("application/grpc;charset=x", Outcome::Success),
        ] {
            let head: Fields = Box::leak(Box::new([("content-type", content_type)]));
            assert_eq!(judge(200, head, OK), expected, "{content_type}");
        }
        let web: Fields = &[("content-type", "application/grpc-web+proto")];
        assert_eq!(judge(200, web, None), Outcome::Success, "the trailers are in the body");
    }

    #[test]
    fn http_statuses_have_the_codes_of_the_mapping() {
        let table = [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (204, 2),
            (302, 2),
            (408, 2),
            (500, 2),
        ];
        for (status, code) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(code_of_head(status, &HeaderMap::new()), Some(code), "{status}");
        }
        for status in [401, 403, 404] {
            assert_eq!(judge(status, &[], None), Outcome::Success, "{status}");
        }
        for status in [204, 302, 400, 408, 500, 501, 502] {
            assert_eq!(judge(status, &[], None), Outcome::ApplicationError, "{status}");
        }
        let busy = judge(503, &[("retry-after", "2")], None);
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(judge(504, &[], None), Outcome::Timeout);
        assert_eq!(judge(400, &[("grpc-status", "3")], None), Outcome::Success, "it counts first");
    }
}
