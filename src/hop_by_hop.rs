//! The header fields that belong to one connection and not to the message (RFC 9110, 7.6.1).

#![cfg_attr(not(all(feature = "proxy", feature = "lambda")), allow(dead_code))]

use http::{HeaderMap, HeaderName, header};

/// The fields that belong to a connection although no `Connection` field names them.
///
/// RFC 9110 section 7.6.1 lists all but the last two: `HTTP2-Settings` belongs to an upgrade to
/// HTTP/2 (RFC 7540, 3.2.1), and `Proxy-Authorization` is for the proxy that has asked for it
/// (RFC 9110, 11.7.2).
const ALWAYS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHORIZATION,
];

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
        for value in headers.get_all(header::CONNECTION) {
            for name in value.as_bytes().split(|&byte| byte == b',') {
                // A token that is not a name, such as an empty one, names no field.
                let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) else { continue };
                // Names without a field are dropped, so that a long list costs no more than a
                // short one.
                if headers.contains_key(&name) && !ALWAYS.contains(&name) && !named.contains(&name)
                {
                    named.push(name);
                }
            }
        }
        Self { named }
    }

    /// Returns whether the field belongs to the connection.
    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        ALWAYS.contains(name) || self.named.contains(name)
    }

    /// Returns the fields that the message itself declares to belong to the connection.
    pub(crate) fn named(&self) -> &[HeaderName] {
        &self.named
    }

    /// Removes the fields from the message that this was read from.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap) {
        for name in ALWAYS.iter().chain(&self.named) {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
