//! `X-Amzn-Trace-Id`, to which a load balancer adds its own part.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_lb::alb::mark_for_tracing;

const FIELD: HeaderName = HeaderName::from_static("x-amzn-trace-id");

fuzz_target!(|bytes: &[u8]| {
    let values = bytes.split(|&byte| byte == b'\n').map(HeaderValue::from_bytes);
    let mut headers: HeaderMap = values.flatten().map(|value| (FIELD, value)).collect();
    let sent = headers.get(FIELD).cloned();
    mark_for_tracing(&mut headers);
    let (own, kept) = marked(&headers);
    let Some(kept) = kept else { return };

    // A field that has a root keeps it and all other parts, but not an older `Self`.
    assert!(own.starts_with("Self=1-"), "{own}");
    let sent = sent.expect("there are other parts");
    let sent = sent.to_str().expect("a field that is no text is replaced");
    let is_part = |text: &str, name: &str| {
        text.trim().split_once('=').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let expected = sent.split(';').map(str::trim).filter(|part| !is_part(part, "Self"));
    assert!(kept.split(';').eq(expected), "{kept:?} of {sent:?}");
    assert!(kept.split(';').any(|part| is_part(part, "Root")));
    // Another load balancer behind it replaces only `Self`.
    mark_for_tracing(&mut headers);
    assert_eq!(marked(&headers).1.as_deref(), Some(&*kept));
});

/// Returns the part of the load balancer, and the others.
fn marked(headers: &HeaderMap) -> (String, Option<String>) {
    assert_eq!(headers.get_all(FIELD).iter().count(), 1);
    let value = headers[FIELD].to_str().expect("text");
    match value.split_once(';') {
        Some((own, kept)) => (own.to_owned(), Some(kept.to_owned())),
        None => {
            assert!(value.starts_with("Root=1-") && value.len() == 40, "{value}");
            (value.to_owned(), None)
        }
    }
}
