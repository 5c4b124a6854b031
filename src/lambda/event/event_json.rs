//! Writes events as JSON, for both formats.

use std::{borrow::Cow, io::Write, str};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::{Serialize, Serializer};

use super::json_string::write_string;
use crate::rng::Rng;

/// Writes `head` as a JSON object, with the body, if there is one, as its last members.
pub(super) fn event(head: &impl Serialize, headers: &HeaderMap, body: Option<&[u8]>) -> Bytes {
    let bytes = body.unwrap_or_default();
    // A body that is declared as text but is not valid UTF-8 must go as base64: JSON strings are
    // UTF-8.
    let text = str::from_utf8(bytes).ok().filter(|_| is_text(headers));
    let mut json = Vec::with_capacity(HEAD_CAPACITY_BYTES + bytes.len().div_ceil(3) * 4);
    // Serializing strings to memory cannot fail.
    let _ = serde_json::to_writer(&mut json, head);
    if json.pop() != Some(b'}') {
        json = b"{".to_vec();
    }
    if json.len() > 1 {
        json.push(b',');
    }
    if body.is_some() {
        json.extend_from_slice(b"\"body\":");
        match text {
            Some(text) => write_string(&mut json, text),
            None => _ = write!(json, "\"{}\"", Base64Display::new(bytes, &STANDARD)),
        }
        json.push(b',');
    }
    let is_base64 = text.is_none() && !bytes.is_empty();
    let _ = write!(json, "\"isBase64Encoded\":{is_base64}}}");
    json.into()
}

/// Capacity for the head of most requests, in bytes.
const HEAD_CAPACITY_BYTES: usize = 2048;

/// Returns true for bodies that are passed on as text: of a textual type, and without content
/// encoding.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return false;
    };
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is_in = |top: &[u8]| kind.len() >= top.len() && kind[..top.len()].eq_ignore_ascii_case(top);
    is_in(b"text/") || TEXT_TYPES.iter().any(|text| kind.eq_ignore_ascii_case(text))
}

const TEXT_TYPES: [&[u8]; 3] = [b"application/json", b"application/javascript", b"application/xml"];

/// Returns a header's value as text. Bytes outside of ASCII are read as Latin-1, the historical
/// charset of HTTP.
pub(super) fn text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => text.into(),
        _ => bytes.iter().copied().map(char::from).collect(),
    }
}

/// Serializes the pairs that a closure returns as an object, in their order.
pub(super) struct PairsAsObject<F>(pub(super) F);

impl<F, I, K, V> Serialize for PairsAsObject<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (K, V)>,
    K: Serialize,
    V: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

/// Returns the parameters of a query as they are written, still percent-encoded.
pub(super) fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Resolves percent-encoding. Bytes that are not UTF-8 become U+FFFD; a `%` that two hexadecimal
/// digits do not follow stands for itself.
pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('%') else { return text.into() };
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let (before, mut rest) = text.as_bytes().split_at(first);
    let mut bytes = before.to_vec();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                &after[2..]
            }
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Resolves the encoding of forms, in which `+` is a space.
pub(super) fn form_decoded(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        true => percent_decoded(&text.replace('+', " ")).into_owned().into(),
        false => percent_decoded(text),
    }
}

/// Returns a random UUID of version 4, for ids in events.
pub(crate) fn uuid() -> String {
    let mut rng = Rng::from_entropy();
    let [a, b] = [rng.bits(), rng.bits()];
    let (time, version) = (a >> 16 & 0xffff, a & 0xfff);
    format!(
        "{:08x}-{time:04x}-4{version:03x}-{:04x}-{:012x}",
        a >> 32,
        b >> 50 | 0x8000,
        b & ((1 << 48) - 1)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn encoded(kind: &str, body: &[u8]) -> Value {
        let headers = [(header::CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect();
        let event = event(&serde_json::json!({ "a": 1 }), &headers, Some(body));
        serde_json::from_slice(&event).unwrap()
    }

    #[test]
    fn the_content_type_decides_how_a_body_is_encoded() {
        for (kind, text) in [
            ("text/plain", true),
            ("TEXT/html; charset=utf-8", true),
            ("application/json", true),
            ("application/json ;charset=utf-8", true),
            ("application/xml", true),
            ("application/javascript", true),
            ("application/octet-stream", false),
            ("application/jsonx", false),
            ("texture/wood", false),
            ("", false),
        ] {
            let value = encoded(kind, b"hi");
            assert_eq!(value["isBase64Encoded"], !text, "{kind}");
            assert_eq!(value["body"], if text { "hi" } else { "aGk=" }, "{kind}");
        }
        let value = encoded("image/png", b"");
        assert_eq!((&value["body"], &value["isBase64Encoded"]), (&"".into(), &false.into()));
    }

    #[test]
    fn compressed_bodies_are_not_text() {
        let headers = [
            (header::CONTENT_TYPE, "text/plain".parse().unwrap()),
            (header::CONTENT_ENCODING, "gzip".parse().unwrap()),
        ];
        assert!(!is_text(&headers.into_iter().collect()));
    }

    #[test]
    fn text_that_is_not_utf8_goes_as_base64() {
        let value = encoded("text/plain", b"\xff\xfe");
        assert_eq!(value["body"], "//4=");
        assert_eq!(value["isBase64Encoded"], true);
    }

    #[test]
    fn a_query_is_split_but_not_decoded() {
        let all: Vec<_> = parameters(Some("a=1&b&c=%20=&&a=2")).collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("c", "%20="), ("a", "2")]);
        assert_eq!(parameters(None).count(), 0);
    }

    #[test]
    fn percent_encoding_is_resolved_once_and_the_rest_stays() {
        for (text, path, form) in [
            ("", "", ""),
            ("a+b", "a+b", "a b"),
            ("a%2Bb", "a+b", "a+b"),
            ("k%5B%5d", "k[]", "k[]"),
            ("%25%32%30", "%20", "%20"),
            ("%ce%bb", "\u{3bb}", "\u{3bb}"),
            ("\u{3bb}%20", "\u{3bb} ", "\u{3bb} "),
            ("%ff", "\u{fffd}", "\u{fffd}"),
            ("%", "%", "%"),
            ("%2", "%2", "%2"),
            ("%+1%zz%2x", "%+1%zz%2x", "% 1%zz%2x"),
        ] {
            assert_eq!((&*percent_decoded(text), &*form_decoded(text)), (path, form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bodies_survive(
            body: Vec<u8>,
            kind in prop::sample::select(vec!["text/plain", "image/png"]),
        ) {
            let value = encoded(kind, &body);
            let written = value["body"].as_str().unwrap();
            let read = match value["isBase64Encoded"].as_bool().unwrap() {
                true => base64::Engine::decode(&STANDARD, written).unwrap(),
                false => written.as_bytes().to_vec(),
            };
            prop_assert_eq!(read, body);
        }
    }

    #[test]
    fn ids_have_the_form_of_version_4() {
        for _ in 0..100 {
            let id = uuid();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id}");
        }
    }
}
