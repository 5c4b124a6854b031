use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{
    json_members::{JsonValue, Members, Name},
    json_string::split_string,
};
use crate::{hop_by_hop::HopByHop, lambda::InvalidResponse};

/// A function's response to an HTTP event, parsed from JSON.
pub(super) struct JsonResponse<'a> {
    status: StatusCode,
    headers: HeaderMap,
    body: Cow<'a, str>,
    is_base64: bool,
}

/// The members that headers are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderMember {
    /// `headers`.
    Single,
    /// `multiValueHeaders`.
    Multi,
    /// `headers`, `multiValueHeaders` and `cookies`. A value in `headers` may be an array:
    /// `lambda_runtime` writes repeated headers of a prelude in this way.
    All,
}

impl<'a> JsonResponse<'a> {
    pub(super) fn parse(json: &'a [u8], member: HeaderMember) -> Result<Self, InvalidResponse> {
        let members = members_of(json)?.ok_or(InvalidResponse::NoStatus)?;
        // The status comes first: without one, `UrlEvent` takes the whole response as the body,
        // even if its members are not those of a response.
        let status = status(&members)?.ok_or(InvalidResponse::NoStatus)?;
        let headers = headers(&members, member)?;
        let (mut body, mut is_base64) = (Cow::default(), false);
        for (Name(name), value) in members.0 {
            match &*name {
                "body" => body = text(value)?.unwrap_or_default(),
                "isBase64Encoded" => is_base64 = member_of(value.json)?.unwrap_or_default(),
                _ => {}
            }
        }
        Ok(Self { status, headers, body, is_base64 })
    }

    /// Converts to an HTTP response. `json` is what this was parsed from: a body without escapes is
    /// a slice of it, not a copy.
    pub(super) fn into_response(self, json: &Bytes) -> Result<Response<Bytes>, InvalidResponse> {
        let body = match self.body {
            body if self.is_base64 => {
                let decoded = STANDARD.decode(body.as_bytes());
                decoded.map_err(|error| InvalidResponse::Base64(error.to_string().into()))?.into()
            }
            Cow::Borrowed(body) => json.slice_ref(body.as_bytes()),
            Cow::Owned(body) => body.into(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        Ok(response)
    }
}

/// Returns the status and headers that a streamed response begins with. Every function writes them
/// in the same format, whichever event it got.
pub(super) fn parse_prelude(json: &[u8]) -> Result<Response<()>, InvalidResponse> {
    let members = members_of(json)?.ok_or(InvalidResponse::NoPrelude)?;
    let mut response = Response::new(());
    *response.status_mut() = status(&members)?.unwrap_or_default();
    *response.headers_mut() = headers(&members, HeaderMember::All)?;
    Ok(response)
}

/// Returns the body that valid JSON without `statusCode` stands for: the text of a string, or else
/// the JSON itself.
pub(super) fn whole(json: Bytes) -> Result<Bytes, InvalidResponse> {
    if json.trim_ascii_start().first() != Some(&b'"') {
        return Ok(json);
    }
    let value: &RawValue = serde_json::from_slice(&json).map_err(invalid)?;
    Ok(match text(value.into())?.unwrap_or_default() {
        Cow::Borrowed(text) => json.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    })
}

/// Returns the members of an object; `None` for other valid JSON.
fn members_of(json: &[u8]) -> Result<Option<ValueMembers<'_>>, InvalidResponse> {
    if json.trim_ascii_start().first() == Some(&b'{') {
        return Members::of_object(json).map(Some).map_err(invalid);
    }
    serde_json::from_slice::<IgnoredAny>(json).map(|_| None).map_err(invalid)
}

type ValueMembers<'a> = Members<'a, JsonValue<'a>>;

fn status(members: &ValueMembers<'_>) -> Result<Option<StatusCode>, InvalidResponse> {
    let member = members.0.iter().rev().find(|(Name(name), _)| name == "statusCode");
    let status = member.map(|(_, value)| text(value.by_ref())).transpose()?.flatten();
    status.map(|status| status_code(&status)).transpose()
}

/// Returns the headers of a response, without those that belong to a connection.
fn headers(members: &ValueMembers<'_>, member: HeaderMember) -> Result<HeaderMap, InvalidResponse> {
    use HeaderMember::{All, Multi, Single};
    let (mut headers, mut multi, mut cookies) = (HeaderMap::new(), HeaderMap::new(), Vec::new());
    for (Name(name), value) in &members.0 {
        match (&**name, member) {
            ("headers", Single | All) => {
                let all = match value.json {
                    "null" => Members::default(),
                    json => Members::of_object(json.as_bytes()).map_err(invalid)?,
                };
                for (Name(name), value) in all.0 {
                    if member == All && value.json.starts_with('[') {
                        let values = member_of::<Vec<&RawValue>>(value.json)?.unwrap_or_default();
                        append_all(&mut headers, &name, values)?;
                    } else {
                        append(&mut headers, &name, value)?;
                    }
                }
            }
            ("multiValueHeaders", Multi | All) => {
                for (Name(name), values) in
                    member_of::<Members<'_, Vec<&RawValue>>>(value.json)?.unwrap_or_default().0
                {
                    append_all(&mut multi, &name, values)?;
                }
            }
            ("cookies", All) => {
                cookies = member_of::<Vec<&RawValue>>(value.json)?.unwrap_or_default();
            }
            _ => {}
        }
    }
    // These replace headers of the same name. `HeaderMap::extend` would panic beyond its capacity.
    for name in multi.keys() {
        headers.remove(name);
    }
    for (name, value) in &multi {
        let invalid = |_| InvalidResponse::Header(shortened(name.as_str()));
        headers.try_append(name, value.clone()).map_err(invalid)?;
    }
    append_all(&mut headers, "set-cookie", cookies)?;
    HopByHop::of(&headers).remove_from(&mut headers);
    for name in IGNORED {
        headers.remove(name);
    }
    Ok(headers)
}

fn invalid(error: serde_json::Error) -> InvalidResponse {
    InvalidResponse::Json(error.to_string().into())
}

/// Parses the value of a member, which may be `null`.
fn member_of<'a, T: Deserialize<'a>>(json: &'a str) -> Result<Option<T>, InvalidResponse> {
    serde_json::from_str(json).map_err(invalid)
}

/// Returns the text of a string; `None` for `null`. A number or a boolean counts as the text that
/// it is written as, since functions in dynamic languages write them.
fn text(value: JsonValue<'_>) -> Result<Option<Cow<'_, str>>, InvalidResponse> {
    let json = value.json;
    match (value.text, json.as_bytes().first()) {
        (Some(text), _) => Ok(Some(text)),
        (None, Some(b'"')) => match split_string(json) {
            Some((text, _)) => Ok(Some(text)),
            None => serde_json::from_str(json).map(|Name(text)| Some(text)).map_err(invalid),
        },
        (None, Some(b'{' | b'[')) => {
            Err(InvalidResponse::Json("an object or an array is not a string".into()))
        }
        (None, _) => Ok(Some(json).filter(|&json| json != "null").map(Cow::Borrowed)),
    }
}

fn status_code(status: &str) -> Result<StatusCode, InvalidResponse> {
    // Some languages write whole numbers as 200.0.
    let code = status.parse().ok().filter(|code: &f64| code.fract() == 0.0);
    let code = code.and_then(|code| StatusCode::from_u16(code as u16).ok());
    // A response can't be informational (1xx).
    code.filter(|code| !code.is_informational())
        .ok_or_else(|| InvalidResponse::Status(shortened(status)))
}

fn append_all(
    headers: &mut HeaderMap,
    name: &str,
    values: Vec<&RawValue>,
) -> Result<(), InvalidResponse> {
    values.into_iter().try_for_each(|value| append(headers, name, value.into()))
}

fn append(
    headers: &mut HeaderMap,
    name: &str,
    value: JsonValue<'_>,
) -> Result<(), InvalidResponse> {
    let invalid = || InvalidResponse::Header(shortened(name));
    let value = text(value)?.ok_or_else(invalid)?;
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid())?;
    headers.try_append(key, value).map_err(|_| invalid())?;
    Ok(())
}

/// Headers that follow from the body and the connection, besides hop-by-hop ones.
const IGNORED: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::PROXY_AUTHENTICATE, header::TRAILER];

/// Returns the first 100 characters, for errors.
fn shortened(text: &str) -> Box<str> {
    text.chars().take(100).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(json: &str, member: HeaderMember) -> Result<Response<Bytes>, InvalidResponse> {
        let json = Bytes::copy_from_slice(json.as_bytes());
        JsonResponse::parse(&json, member)?.into_response(&json)
    }

    fn single(json: &str) -> Response<Bytes> {
        decode(json, HeaderMember::Single).unwrap()
    }

    #[test]
    fn a_json_response_becomes_an_http_response() {
        let response = single(
            r#"{"statusCode":201,"statusDescription":"201 Created","headers":
            {"Content-Type":"text/plain","X-Count":7,"x-ok":true},"body":"h\u00e9llo",
            "isBase64Encoded":false,"more":[{"statusCode":1}]}"#,
        );
        assert_eq!(response.status(), 201);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!([&headers["x-count"], &headers["x-ok"]], ["7", "true"]);
        assert_eq!(response.body(), "h\u{e9}llo");
        let response = single(r#"{"statusCode":"204","headers":null,"body":null}"#);
        assert_eq!((response.status().as_u16(), response.body().len()), (204, 0));
    }

    #[test]
    fn headers_come_from_where_the_format_has_them() {
        let json = r#"{"statusCode":200,"headers":{"a":"1"},
            "multiValueHeaders":{"a":["2","3"]},"cookies":["b=4","c=5"]}"#;
        let all = |member| {
            let response = decode(json, member).unwrap();
            let headers = response.headers().iter();
            headers.map(|(name, value)| format!("{name}:{}", value.to_str().unwrap())).collect()
        };
        let all: [Vec<_>; 3] = MEMBERS.map(all);
        assert_eq!(all[0], ["a:1"]);
        assert_eq!(all[1], ["a:2", "a:3"]);
        assert_eq!(all[2], ["a:2", "a:3", "set-cookie:b=4", "set-cookie:c=5"]);
    }

    #[test]
    fn a_prelude_needs_no_status_and_nothing_is_added() {
        let parsed = |json: &str| parse_prelude(json.as_bytes()).unwrap();
        for empty in ["{}", r#"{"statusCode":null,"headers":null,"cookies":null,"body":[1]}"#] {
            let response = parsed(empty);
            assert_eq!(
                (response.status(), response.headers().len()),
                (StatusCode::OK, 0),
                "{empty}"
            );
        }
        let response = parsed(
            r#"{"headers":{"a":"1","b":["2","3"]},"multiValueHeaders":{"c":["4","5"]},
            "cookies":["d=6","e=7"]}"#,
        );
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| format!("{name}:{}", value.to_str().unwrap()));
        let expected = ["a:1", "b:2", "b:3", "c:4", "c:5", "set-cookie:d=6", "set-cookie:e=7"];
        assert_eq!(headers.collect::<Vec<_>>(), expected);
        for json in ["null", "\"a\"", "[]", "7"] {
            assert_eq!(parse_prelude(json.as_bytes()).unwrap_err(), InvalidResponse::NoPrelude);
        }
        for json in ["", "{", "{}{}", r#"{"statusCode":7}"#, r#"{"headers":{"a b":"c"}}"#] {
            assert!(parse_prelude(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_body_of_a_json_string_is_its_text() {
        for (json, body) in [
            (r#""Hello""#, "Hello"),
            (" \"Hello\"\n", "Hello"),
            (r#""""#, ""),
            (r#""a\n\"b\" \u00e9""#, "a\n\"b\" \u{e9}"),
            ("7", "7"),
            ("null", "null"),
            (r#" ["a"] "#, r#" ["a"] "#),
        ] {
            assert_eq!(whole(Bytes::from(json)).unwrap(), body, "{json}");
        }
        assert!(matches!(whole(r#""\ud800""#.into()), Err(InvalidResponse::Json(_))));
    }

    #[test]
    fn headers_of_the_same_name_are_all_kept() {
        let response =
            single(r#"{"statusCode":200,"headers":{"set-cookie":"a=1","set-cookie":"b=2"}}"#);
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    }

    #[test]
    fn what_belongs_to_a_connection_is_left_out() {
        let response = single(
            r#"{"statusCode":200,"headers":{"Connection":"close","Transfer-Encoding":"chunked",
            "Content-Length":"999","Keep-Alive":"1","connection":"X-Named, te","x-named":"1",
            "Trailer":"a","Proxy-Authenticate":"Basic","Upgrade":"h2c","X":"y"}}"#,
        );
        assert_eq!(response.headers().keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn a_body_that_is_there_literally_is_not_copied() {
        let json = Bytes::from_static(br#"{"statusCode":200,"body":"literal"}"#);
        let parsed = JsonResponse::parse(&json, HeaderMember::Single).unwrap();
        let response = parsed.into_response(&json).unwrap();
        assert!(json.as_ptr_range().contains(&response.body().as_ptr()));
    }

    #[test]
    fn errors_name_what_is_invalid_in_a_response() {
        use InvalidResponse::{Base64, Header, Json, NoStatus, Status};
        let wrong = |json: &str| decode(json, HeaderMember::Single).unwrap_err();
        let no_json = r#"|{|{}x|{"statusCode":{}}|{"statusCode":200,"headers":7}|{"statusCode":200,"body":{}}
            |{"statusCode":200,"body":["a"]}|{"statusCode":200,"body":"\ud800"}"#;
        for json in no_json.split('|').chain(["\u{0}"]) {
            assert!(matches!(wrong(json), Json(_)), "{json}: {:?}", wrong(json));
        }
        // Also objects whose members are not those of a response.
        let whole = r#"{}|[]|null|7|-7|7.5|true|"a"|{"statusCode":null}|{"id":7,"body":{"text":"hi"}}
            |{"headers":{"a b":"c"}}"#;
        for json in whole.split('|') {
            assert!(matches!(wrong(json), NoStatus), "{json}: {:?}", wrong(json));
        }
        for status in ["0", "99", "101", "1000", "-200", "200.5", "\"abc\"", "true", "65736"] {
            let json = format!(r#"{{"statusCode":{status}}}"#);
            assert!(matches!(wrong(&json), Status(_)), "{json}");
        }
        let headers =
            [r#""a b":"c""#, r#""":"c""#, r#""a":"b\r\nc: d""#, r#""a\n":"b""#, r#""a":null"#];
        for header in headers {
            let json = format!(r#"{{"statusCode":200,"headers":{{{header}}}}}"#);
            assert!(matches!(wrong(&json), Header(_)), "{json}");
        }
        // Each map alone is below the capacity of a `HeaderMap`, which panics beyond it.
        let names = |kind: &str, value: &str| {
            let names: Vec<_> = (0..13_000).map(|n| format!(r#""{kind}{n}":{value}"#)).collect();
            names.join(",")
        };
        let (single, multi) = (names("a", r#""""#), names("b", r#"[""]"#));
        let both = format!(
            r#"{{"statusCode":200,"headers":{{{single}}},"multiValueHeaders":{{{multi}}}}}"#
        );
        assert!(matches!(decode(&both, HeaderMember::All).unwrap_err(), Header(_)));
        for body in ["a", "====", "a b="] {
            let json = format!(r#"{{"statusCode":200,"body":"{body}","isBase64Encoded":true}}"#);
            assert!(matches!(wrong(&json), Base64(_)), "{json}");
        }
    }

    #[test]
    fn the_last_member_of_a_name_counts_and_unknown_ones_do_not() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let response = single(&format!(
            r#"{{"statusCode":404,"body":"a\n","x":{deep},"y":1e999,"z":-0.00000000000000000001,
            "unread":"\ud800","\u0062ody":"\u00e9\ud83d\ude00\b\f\/\"","status\u0043ode":200}}"#
        ));
        assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
        assert_eq!(response.body(), "\u{e9}\u{1f600}\u{8}\u{c}/\"");
        for body in ["1e999", "123456789012345678901234567890", "-0.0", "true"] {
            assert_eq!(single(&format!(r#"{{"statusCode":200,"body":{body}}}"#)).body(), body);
        }
        let first = r#"{"statusCode":200,"body":{},"body":"b"}"#;
        assert!(matches!(decode(first, HeaderMember::Single), Err(InvalidResponse::Json(_))));
    }

    #[test]
    fn header_values_have_escapes_and_any_characters_but_controls() {
        let response = decode(
            r#"{"statusCode":200,"headers":{"\u0061":"\"1\"\t\u00e9","b":["\\",2,true]},
            "multiValueHeaders":{"\u0063":["\/","\ud83d\ude00"]},"cookies":["\u0064=\\"]}"#,
            HeaderMember::All,
        );
        let response = response.unwrap();
        assert_eq!(response.headers()["a"], "\"1\"\t\u{e9}".as_bytes());
        let all = |name: &str| response.headers().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(all("b"), ["\\", "2", "true"]);
        assert_eq!(all("c"), [&b"/"[..], "\u{1f600}".as_bytes()]);
        assert_eq!(all("set-cookie"), ["d=\\"]);
        let null = r#"{"statusCode":200,"multiValueHeaders":{"c":["1",null]}}"#;
        let error = InvalidResponse::Header("c".into());
        assert_eq!(decode(null, HeaderMember::Multi).unwrap_err(), error);
    }

    #[test]
    fn errors_are_those_of_serde_json() {
        for (json, expected) in [
            (
                r#"{"statusCode":200,"body":"\ud800"}"#,
                "unexpected end of hex escape at line 1 column 8",
            ),
            (
                r#"{"statusCode":200,"headers":"x"}"#,
                r#"invalid type: string "x", expected an object at line 1 column 3"#,
            ),
            (r#"{"statusCode":200,"headers":{"a":[}}"#, "expected value at line 1 column 35"),
            (
                "{\"statusCode\":200,\n\"a\u{e9}\n\"}",
                "control character (\\u0000-\\u001F) found while parsing a string at line 3 column 0",
            ),
            (r#"{"statusCode":200,}"#, "trailing comma at line 1 column 19"),
            (r#"{"statusCode":200"#, "EOF while parsing an object at line 1 column 17"),
        ] {
            let error = decode(json, HeaderMember::Single).unwrap_err();
            assert_eq!(error, InvalidResponse::Json(expected.into()), "{json}");
        }
        let json = Bytes::from_static(b"{\"statusCode\":200,\"body\":\"\xff\"}");
        let error = JsonResponse::parse(&json, HeaderMember::Single).err();
        assert_eq!(
            error,
            Some(InvalidResponse::Json("invalid unicode code point at line 1 column 27".into()))
        );
    }

    const MEMBERS: [HeaderMember; 3] =
        [HeaderMember::Single, HeaderMember::Multi, HeaderMember::All];

    /// JSON that is close to a valid response.
    fn nearly() -> impl Strategy<Value = String> {
        let words = |text: &'static str| prop::sample::select(text.split(' ').collect::<Vec<_>>());
        let name = words("statusCode headers multiValueHeaders cookies body isBase64Encoded");
        let value = words(
            r#"200 -1 1e99 null true "x" "a\r\nb" [] {} ["a",7] {"a":"b"} {"a":["b","c"]} "\ud800" [[[[]]]]"#,
        );
        prop::collection::vec((name, value), 0..7).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    }

    proptest! {
        #[test]
        fn no_response_causes_a_panic(bytes: Vec<u8>, text in "\\PC*", nearly in nearly()) {
            for json in [bytes, text.into_bytes(), nearly.into_bytes()] {
                let json = Bytes::from(json);
                for member in MEMBERS {
                    let parsed = JsonResponse::parse(&json, member);
                    let _ = parsed.and_then(|parsed| parsed.into_response(&json));
                }
                let _ = parse_prelude(&json);
            }
        }

        #[test]
        fn bodies_survive(text: String, bytes: Vec<u8>) {
            let json = serde_json::json!({ "statusCode": 200, "body": text }).to_string();
            prop_assert_eq!(single(&json).into_body(), text);
            let body = STANDARD.encode(&bytes);
            let json = serde_json::json!({
                "statusCode": 200, "body": body, "isBase64Encoded": true
            });
            prop_assert_eq!(single(&json.to_string()).into_body(), bytes);
        }
    }
}
