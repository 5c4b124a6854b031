use http::{HeaderMap, HeaderName, Method, header, request::Parts};

use super::refusal::Refusal;
use crate::hop_by_hop::{HopByHop, describes_client};

/// The limits of a request head, in bytes and fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) target: usize,
    pub(super) fields: usize,
    pub(super) bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { target: 16 * 1024, fields: 100, bytes: 64 * 1024 }
    }
}

/// The most fields that a request may declare to belong to its connection. Envoy refuses as many.
const MAX_NAMED: usize = 10;

/// Refuses a request that exceeds the limits, or that another server could read in another way.
pub(super) fn screen(head: &Parts, limits: &HeadLimits) -> Result<(), Refusal> {
    if target_len(head) > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    if head.headers.len() > limits.fields || size(&head.headers) > limits.bytes {
        return Err(Refusal::HeadersTooLarge);
    }
    if head.headers.keys().any(resembles_framing) {
        return Err(Refusal::Invalid("a field resembles Content-Length or Transfer-Encoding"));
    }
    if has_unknown_coding(&head.headers) {
        return Err(Refusal::NotImplemented("unknown transfer coding"));
    }
    let expects_more = |value: &http::HeaderValue| {
        !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue")
    };
    if head.headers.get_all(header::EXPECT).iter().any(expects_more) {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// Returns whether a message has another transfer coding than `chunked`, once.
///
/// Hyper decodes nothing else. The next hop would get the rest undeclared.
pub(super) fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
}

fn target_len(head: &Parts) -> usize {
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    authority + path
}

/// Counts each field as on the wire of HTTP/1: with `: ` and the end of its line.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Returns whether a lenient server could take the field for one that frames the message, as some
/// take `transfer_encoding` for `Transfer-Encoding`.
fn resembles_framing(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Nearly all names differ in their length: with one character more, and the real ones.
    if !matches!(name.len(), 13..=19) || matches!(name, "content-length" | "transfer-encoding") {
        return false;
    }
    let letters = || name.bytes().filter(u8::is_ascii_alphanumeric);
    letters().eq(*b"contentlength") || letters().eq(*b"transferencoding")
}

/// Refuses a request that declares end-to-end fields to belong to its connection.
///
/// Removing them would let a client hide who it is, or what it asks for, from the endpoint.
pub(super) fn screen_named(fields: &HopByHop) -> Result<(), Refusal> {
    static KEPT: [HeaderName; 11] = [
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::CACHE_CONTROL,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::ORIGIN,
        header::RANGE,
        header::VIA,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("traceparent"),
    ];
    const KEPT_KINDS: [&str; 3] = ["content-", "if-", "sec-"];
    let named = fields.named();
    let is_kept = |name: &HeaderName| {
        KEPT.contains(name)
            || describes_client(name)
            || KEPT_KINDS.iter().any(|kind| name.as_str().starts_with(kind))
    };
    if named.len() > MAX_NAMED || named.iter().any(is_kept) {
        return Err(Refusal::Invalid("Connection names a field that is not of the connection"));
    }
    Ok(())
}

/// Counts one hop in `Max-Forwards` (RFC 9110, 7.6.2), or refuses the request if this is the last.
pub(super) fn count_forward(head: &mut Parts) -> Result<(), Refusal> {
    if !matches!(head.method, Method::TRACE | Method::OPTIONS) {
        return Ok(());
    }
    let Some(value) = head.headers.get(header::MAX_FORWARDS) else { return Ok(()) };
    let digits = Some(value.as_bytes()).filter(|text| !text.is_empty());
    let digits = digits.filter(|text| text.iter().all(u8::is_ascii_digit));
    // A number that is too large for its type is as good as the largest one.
    let forwards =
        digits.and_then(|_| value.to_str().ok()).map(|text| text.parse().unwrap_or(u32::MAX));
    match forwards {
        None => Err(Refusal::Invalid("Max-Forwards is not a number")),
        // A `TRACE` would have to be answered with the request itself, cookies included.
        Some(0) if head.method == Method::TRACE => Err(Refusal::TraceNotAllowed),
        Some(0) => Err(Refusal::LastHop),
        Some(forwards) => {
            head.headers.insert(header::MAX_FORWARDS, (forwards - 1).into());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn screened(request: http::request::Builder) -> Result<(), Refusal> {
        screen(&request.body(()).unwrap().into_parts().0, &HeadLimits::default())
    }

    #[test]
    fn limits_hold_exactly() {
        let limits = HeadLimits { target: 10, fields: 2, bytes: 20 };
        let screened = |request: http::request::Builder| {
            screen(&request.body(()).unwrap().into_parts().0, &limits)
        };
        assert_eq!(screened(Request::get("/123456789")), Ok(()));
        assert_eq!(screened(Request::get("/1234567890")), Err(Refusal::TargetTooLong));
        let get = || Request::get("/").header("a", "12345");
        assert_eq!(screened(get().header("a", "12345")), Ok(()));
        assert_eq!(screened(get().header("b", "123456")), Err(Refusal::HeadersTooLarge));
        assert_eq!(screened(get().header("a", "").header("a", "")), Err(Refusal::HeadersTooLarge));
    }

    #[test]
    fn what_resembles_framing_is_refused() {
        for name in [
            "content_length",
            "transfer_encoding",
            "transfer.encoding",
            "contentlength",
            "content-length-",
            "-content-length",
        ] {
            let refused = screened(Request::get("/").header(name, "1"));
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{name}");
        }
        for name in ["content-length", "content-language", "x-content-length-b"] {
            assert_eq!(screened(Request::get("/").header(name, "1")), Ok(()), "{name}");
        }
        let coding = |value| screened(Request::get("/").header("transfer-encoding", value));
        assert_eq!(coding("Chunked"), Ok(()));
        assert!(matches!(coding("gzip, chunked"), Err(Refusal::NotImplemented(_))));
    }

    #[test]
    fn only_one_expectation_is_known() {
        let expect = |value| screened(Request::post("/").header("expect", value));
        assert_eq!(expect("100-Continue"), Ok(()));
        assert_eq!(expect("x"), Err(Refusal::Expectation));
    }

    #[test]
    fn a_client_cannot_remove_fields_of_the_message() {
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            let present = "x-own te host cookie x-forwarded-for authorization content-length \
                           a b c d e f g h i j k";
            for name in present.split_whitespace() {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.insert(name, http::HeaderValue::from_static("1"));
            }
            headers.insert(header::CONNECTION, value.parse().unwrap());
            screen_named(&HopByHop::of(&headers))
        };
        assert_eq!(named("close, x-own, te, x-absent"), Ok(()));
        for name in ["Host", "cookie", "X-Forwarded-For", "authorization", "content-length"] {
            assert!(named(name).is_err(), "{name}");
        }
        assert!(named("a,b,c,d,e,f,g,h,i,j").is_ok());
        assert!(named("a,b,c,d,e,f,g,h,i,j,k").is_err());
    }

    #[test]
    fn forwards_are_counted_where_the_method_says_so() {
        let counted = |method: &str, forwards: &str| {
            let request = Request::builder().method(method).header("max-forwards", forwards);
            let mut head = request.body(()).unwrap().into_parts().0;
            count_forward(&mut head)
                .map(|()| head.headers["max-forwards"].to_str().unwrap().to_owned())
        };
        assert_eq!(counted("OPTIONS", "2").as_deref(), Ok("1"));
        assert_eq!(counted("GET", "0").as_deref(), Ok("0"));
        assert_eq!(counted("OPTIONS", "0"), Err(Refusal::LastHop));
        assert_eq!(counted("TRACE", "0"), Err(Refusal::TraceNotAllowed));
        assert!(counted("TRACE", "-1").is_err());
    }
}
