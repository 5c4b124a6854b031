//! Which requests are let in.

use std::hint::black_box;

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};

use crate::{ConfigError, opaque::Opaque};

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// `None` lets in any host.
    hosts: Option<Vec<Authority>>,
    token: Option<Opaque<String>>,
}

/// The shortest token. 16 random bytes cannot be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

impl Guard {
    pub(super) fn new(
        hosts: Option<&[String]>,
        token: Option<&String>,
    ) -> Result<Self, ConfigError> {
        let parse = |host: &String| {
            let authority =
                host.parse::<Authority>().ok().filter(|host| !host.as_str().contains('@'));
            authority.ok_or_else(|| {
                ConfigError::new("allowed_hosts", "a host, or a host and a port").with_value(host)
            })
        };
        let hosts = hosts.map(|hosts| hosts.iter().map(parse).collect()).transpose()?;
        let is_token = |token: &String| {
            token.len() >= MIN_TOKEN_LENGTH && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !token.is_none_or(is_token) {
            return Err(ConfigError::new("token", "at least 16 visible ASCII characters"));
        }
        Ok(Self { hosts, token: token.cloned().map(Opaque) })
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Tells whether the request names a host that is allowed.
    pub(super) fn allows_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(allowed) = &self.hosts else { return true };
        host(uri, headers).is_some_and(|host| {
            allowed.iter().any(|allowed| {
                // Browsers leave the port of the scheme out.
                let is_port = match (allowed.port_u16(), host.port_u16()) {
                    (None, _) | (Some(80 | 443), None) => true,
                    (allowed, asked) => allowed == asked,
                };
                is_port && allowed.host().eq_ignore_ascii_case(host.host())
            })
        })
    }

    /// Tells whether the request has the token, if one is needed.
    pub(super) fn authenticates(&self, headers: &HeaderMap) -> bool {
        let Some(Opaque(token)) = &self.token else { return true };
        let Some(value) = single(headers, AUTHORIZATION.as_str()) else { return false };
        let value = value.as_bytes();
        value.split_at_checked("bearer ".len()).is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case(b"bearer ")
                && is_equal(given.trim_ascii(), token.as_bytes())
        })
    }
}

/// Compares all bytes, so that the time tells nothing but the length.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let pairs = given.iter().zip(expected);
    let difference = pairs.fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    given.len() == expected.len() && difference == 0
}

/// Returns the value of a field that must not be repeated.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    match uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => Authority::try_from(single(headers, HOST.as_str())?.as_bytes()).ok(),
    }
}

/// Tells whether a browser sent the request for a page of this origin, or another program sent it.
///
/// `Sec-Fetch-Site` decides if it is present, as it is in browsers over HTTPS and on localhost.
/// Otherwise `Origin` does. Programs that are not browsers send neither.
pub(super) fn is_same_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    const SITE: &str = "sec-fetch-site";
    if headers.contains_key(SITE) {
        return single(headers, SITE).is_some_and(|site| site == "same-origin" || site == "none");
    }
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let origin = single(headers, ORIGIN.as_str()).and_then(|it| Uri::try_from(it.as_bytes()).ok());
    let (Some(origin), Some(host)) = (origin, host(uri, headers)) else { return false };
    let default_port = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let is_host = origin.host().is_some_and(|origin| origin.eq_ignore_ascii_case(host.host()));
    let port = |port: Option<u16>| port.unwrap_or(default_port);
    is_host && port(origin.port_u16()) == port(host.port_u16())
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = single(headers, CONTENT_TYPE.as_str()) else { return false };
    let media_type = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}
