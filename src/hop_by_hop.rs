//! The header fields that belong to one connection and not to the message (RFC 9110, 7.6.1).

#![cfg_attr(not(all(feature = "proxy", feature = "lambda")), allow(dead_code))]

use http::{HeaderMap, HeaderName, header};

use crate::header_fields::{elements, remove_if};

/// Returns whether a field belongs to a connection although no `Connection` field names it.
///
/// RFC 9110 section 7.6.1 lists all but the last two: `HTTP2-Settings` belongs to an upgrade to
/// HTTP/2 (RFC 7540, 3.2.1), and `Proxy-Authorization` is for the proxy that has asked for it
/// (RFC 9110, 11.7.2).
fn is_always(name: &HeaderName) -> bool {
    // A match tells most names apart by their length; a lookup of each would hash eight names.
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authorization"
    )
}

/// The header fields of a message that an intermediary must not forward.
#[derive(Debug)]
pub(crate) struct HopByHop {
    /// Fields that the message has and `Connection` names, without those that belong to a
    /// connection anyway.
    named: Vec<HeaderName>,
}

impl HopByHop {
    /// Reads every `Connection` field of a message, not only the first one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut named = Vec::new();
        for element in elements(headers, &header::CONNECTION) {
            // An element that is not a name names no field.
            let Ok(name) = HeaderName::from_bytes(element) else { continue };
            // Names without a field are dropped, so that a long list costs no more than a short
            // one.
            if headers.contains_key(&name) && !is_always(&name) && !named.contains(&name) {
                named.push(name);
            }
        }
        Self { named }
    }

    /// Returns whether the field belongs to the connection.
    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        is_always(name) || self.named.contains(name)
    }

    /// Returns the fields that the message itself declares to belong to the connection.
    pub(crate) fn named(&self) -> &[HeaderName] {
        &self.named
    }

    /// Removes the fields from the message that this was read from.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap) {
        remove_if(headers, |name| self.contains(name));
    }
}

/// Removes the fields that have no place in trailers: those of a connection, and those that frame
/// or route a message or say who has sent it (RFC 9110, 6.5.1).
///
/// A reader that merges trailers with the header fields would believe them, and HTTP/2 resets a
/// stream whose trailers have fields of a connection.
pub(crate) fn screen_trailers(trailers: &mut HeaderMap) {
    static NEVER: [HeaderName; 8] = [
        header::CONTENT_LENGTH,
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::FORWARDED,
        header::VIA,
        header::TRAILER,
    ];
    let is_misplaced =
        |name: &HeaderName| is_always(name) || NEVER.contains(name) || is_written_by_edge(name);
    remove_if(trailers, is_misplaced);
}

/// Returns whether a proxy describes the client in the field, such as `X-Forwarded-For`.
///
/// `X_Forwarded_For` is such a field as well: CGI, WSGI and PHP do not tell them apart.
pub(crate) fn describes_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is_like = |expected: &str| {
        let folded = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
        folded.take(expected.len()).eq(expected.bytes())
    };
    match name.as_bytes() {
        [b'x', b'-' | b'_', b'f', ..] => is_like("x-forwarded-"),
        [b'x', b'-' | b'_', b'r', ..] => name.len() == 9 && is_like("x-real-ip"),
        _ => name == "forwarded",
    }
}

/// Returns whether an edge describes the client, its connection or its user in the field.
fn is_written_by_edge(name: &HeaderName) -> bool {
    let prefixes = ["x-amzn-mtls-", "x-amzn-tls-"];
    describes_client(name)
        || describes_user(name)
        || prefixes.iter().any(|prefix| folds_to(name, prefix))
}

/// Returns whether the load balancer names a user in the field, `x-amzn-oidc-*`. Any other
/// character may stand for the hyphens: CGI, WSGI and PHP do not tell them apart.
pub(crate) fn describes_user(name: &HeaderName) -> bool {
    folds_to(name, "x-amzn-oidc-")
}

/// Returns whether the name begins with `prefix` if all but letters and digits are hyphens.
fn folds_to(name: &HeaderName, prefix: &str) -> bool {
    let bytes = name.as_str().bytes();
    let folded = bytes.map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' });
    folded.take(prefix.len()).eq(prefix.bytes())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[cfg(any(feature = "alb", feature = "oidc"))]
    #[test]
    fn any_spelling_of_a_user_is_found() {
        let describes = |name: &'static str| describes_user(&HeaderName::from_static(name));
        for name in ["x-amzn-oidc-identity", "x_amzn_oidc_data", "x-amzn.oidc~accesstoken"] {
            assert!(describes(name), "{name}");
        }
        for name in ["x-amzn-oidc", "x-amzn-trace-id", "xx-amzn-oidc-data"] {
            assert!(!describes(name), "{name}");
        }
    }

    #[test]
    fn trailers_say_nothing_about_connection_route_or_client() {
        let mut trailers = HeaderMap::new();
        for name in [
            "connection",
            "te",
            "host",
            "x-forwarded-for",
            "x_forwarded_proto",
            "x_real-ip",
            "x-amzn-mtls-clientcert-subject",
            "x-amzn_tls-version",
            "x-amzn-oidc-data",
            "forwarded",
            "cookie",
            "content-length",
            "grpc-status",
            "x-real-ipv",
        ] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        screen_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-real-ipv"]);
    }

    #[test]
    fn every_connection_field_is_read_and_removed_with_what_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret ,, \"x y\""),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("proxy-authorization", "Basic eDp5"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let fields = HopByHop::of(&headers);
        assert!(fields.contains(&HeaderName::from_static("x-other")));
        assert!(!fields.contains(&HeaderName::from_static("x-kept")));
        fields.remove_from(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }
}
