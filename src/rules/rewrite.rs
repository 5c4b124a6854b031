use std::{error::Error as StdError, fmt};

use http::{
    HeaderValue, Uri,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use regex::bytes::{Captures, Regex};

use super::condition::{Case, compile_regex, is_host, request_host};
use crate::ConfigError;

/// Changes the host and the URL of requests, compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Rewrites {
    pub(super) host: Option<Replacement>,
    pub(super) url: Option<Replacement>,
}

impl Rewrites {
    pub(super) fn are_none(&self) -> bool {
        self.host.is_none() && self.url.is_none()
    }

    /// Changes the head of a request, where it matches. After an error the head must not be used.
    pub(super) fn apply(&self, head: &mut Parts) -> Result<(), RewriteError> {
        let (host, url) = (self.rewritten_host(head)?, self.rewritten_url(head)?);
        if let Some(url) = url {
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.path_and_query = Some(url);
            // Another path is no reason for a target to become invalid.
            head.uri = Uri::from_parts(parts).map_err(|_| RewriteError::url())?;
        }
        if let Some(authority) = host {
            let value = HeaderValue::from_str(authority.as_str());
            head.headers.insert(HOST, value.map_err(|_| RewriteError::host())?);
            if head.uri.authority().is_some() {
                let mut parts = std::mem::take(&mut head.uri).into_parts();
                parts.authority = Some(authority);
                head.uri = Uri::from_parts(parts).map_err(|_| RewriteError::host())?;
            }
        }
        Ok(())
    }

    /// Returns the new host with the port of the old one, if the host matches.
    pub(super) fn rewritten_host(&self, head: &Parts) -> Result<Option<Authority>, RewriteError> {
        let Some((rewrite, host)) = self.host.as_ref().zip(request_host(head)) else {
            return Ok(None);
        };
        let Some(text) = rewrite.replaced(host) else { return Ok(None) };
        let text = text.ok().filter(|text| is_host(text)).ok_or_else(RewriteError::host)?;
        let authority = match port_of(head) {
            Some(port) => format!("{text}:{port}"),
            None => text,
        };
        authority.parse().map(Some).map_err(|_| RewriteError::host())
    }

    /// Returns the new path and query, if the old ones match.
    pub(super) fn rewritten_url(&self, head: &Parts) -> Result<Option<PathAndQuery>, RewriteError> {
        let Some((rewrite, url)) = self.url.as_ref().zip(head.uri.path_and_query()) else {
            return Ok(None);
        };
        let Some(text) = rewrite.replaced(url.as_str()) else { return Ok(None) };
        let is_url = |text: &String| text.starts_with('/') && !text.contains('#');
        let text = text.ok().filter(is_url).ok_or_else(RewriteError::url)?;
        text.parse().map(Some).map_err(|_| RewriteError::url())
    }
}

/// Returns the port that the request names, in the target or in `Host`.
fn port_of(head: &Parts) -> Option<u16> {
    match head.uri.authority() {
        Some(authority) => authority.port_u16(),
        None => {
            let field = head.headers.get(HOST)?.to_str().ok()?;
            field.parse::<Authority>().ok()?.port_u16()
        }
    }
}

/// A regular expression, and what replaces the first text that it matches.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    regex: Regex,
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// The field of an error is `regex` or `replacement`.
    pub(super) fn new(
        expression: &str,
        replacement: &str,
        case: Case,
    ) -> Result<Self, ConfigError> {
        let regex = compile_regex(expression, case).map_err(|error| {
            ConfigError::new("regex", error.expected().to_owned()).with_value(expression)
        })?;
        let invalid =
            |expected: String| ConfigError::new("replacement", expected).with_value(replacement);
        let is_printable = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !replacement.bytes().all(is_printable) {
            let expected = "printable ASCII characters without spaces and #";
            return Err(invalid(expected.to_owned()));
        }
        let groups = regex.captures_len() - 1;
        let parts = parts(replacement, groups)
            .ok_or_else(|| invalid(format!("groups from $0 to ${groups}; $$ for a dollar sign")))?;
        Ok(Self { regex, parts: parts.into() })
    }

    /// Returns the text with the first match replaced; `None` if it does not match. An error if the
    /// result is not UTF-8.
    fn replaced(&self, text: &str) -> Option<Result<String, std::string::FromUtf8Error>> {
        let captures = self.regex.captures(text.as_bytes())?;
        let whole = captures.get(0)?;
        let mut result = text.as_bytes()[..whole.start()].to_vec();
        self.append(&captures, &mut result);
        result.extend_from_slice(&text.as_bytes()[whole.end()..]);
        Some(String::from_utf8(result))
    }

    fn append(&self, captures: &Captures<'_>, to: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => to.extend_from_slice(text.as_bytes()),
                // A group that took no part in the match is empty.
                Part::Group(group) => {
                    to.extend_from_slice(
                        captures.get(*group).map_or(&[], |group| group.as_bytes()),
                    );
                }
            }
        }
    }
}

/// Splits a replacement: `$1` is a group, with as many digits as there are groups for, and `$$` a
/// dollar sign. `None` if there is no such group.
fn parts(replacement: &str, groups: usize) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '$' {
            text.push(char);
            continue;
        }
        if chars.next_if_eq(&'$').is_some() {
            text.push('$');
            continue;
        }
        let mut group = chars.next().and_then(|char| char.to_digit(10))? as usize;
        while let Some(digit) = chars.peek().and_then(|char| char.to_digit(10)) {
            let longer = group * 10 + digit as usize;
            if longer > groups {
                break;
            }
            group = longer;
            chars.next();
        }
        if group > groups {
            return None;
        }
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Group(group));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Some(parts)
}

/// The rewrite of a rule made no valid host or URL of a request, so its service does not get it.
///
/// An Application Load Balancer answers with status 500.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteError {
    part: &'static str,
}

impl RewriteError {
    fn host() -> Self {
        Self { part: "host" }
    }

    fn url() -> Self {
        Self { part: "URL" }
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rewritten {} is invalid", self.part)
    }
}

impl StdError for RewriteError {}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn rewrites(host: Option<(&str, &str)>, url: Option<(&str, &str)>) -> Rewrites {
        let new = |(regex, replacement), case| Replacement::new(regex, replacement, case).unwrap();
        Rewrites {
            host: host.map(|host| new(host, Case::Insensitive)),
            url: url.map(|url| new(url, Case::Sensitive)),
        }
    }

    fn rewritten(rewrites: &Rewrites, uri: &str, host: &str) -> Result<(String, String), String> {
        let request = Request::get(uri).header(HOST, host).body(()).unwrap();
        let mut head = request.into_parts().0;
        rewrites.apply(&mut head).map_err(|error| error.to_string())?;
        Ok((head.uri.to_string(), head.headers[HOST].to_str().unwrap().to_owned()))
    }

    #[test]
    fn groups_are_numbered() {
        for (replacement, groups, expected) in [
            ("/$1x", 1, Some(vec![Part::Text("/".into()), Part::Group(1), Part::Text("x".into())])),
            ("$11", 1, Some(vec![Part::Group(1), Part::Text("1".into())])),
            ("$11", 11, Some(vec![Part::Group(11)])),
            ("$$1", 1, Some(vec![Part::Text("$1".into())])),
            ("$2", 1, None),
            ("$", 1, None),
            ("${1}", 1, None),
        ] {
            assert_eq!(parts(replacement, groups), expected, "{replacement}");
        }
    }

    #[test]
    fn the_url_is_replaced_where_it_matches() {
        let api = rewrites(None, Some(("^/api/(v[0-9]+)/(.*)$", "/$2?version=$1")));
        let url = |uri: &str| rewritten(&api, uri, "h").map(|(uri, _)| uri);
        assert_eq!(url("/api/v1/users"), Ok("/users?version=v1".into()));
        assert_eq!(url("/other"), Ok("/other".into()));
        assert_eq!(url("http://h/api/v1/x"), Ok("http://h/x?version=v1".into()));
        let all = rewrites(None, Some(("b", "x")));
        assert_eq!(rewritten(&all, "/abab", "h").unwrap().0, "/axab");
    }

    #[test]
    fn the_host_keeps_its_port() {
        let shop = rewrites(Some((r"^shop-(.+)\.example$", "$1.internal")), None);
        let host = |uri: &str, host: &str| rewritten(&shop, uri, host);
        assert_eq!(host("/", "SHOP-a.example:8080").unwrap().1, "a.internal:8080");
        assert_eq!(host("/", "other.example:8080").unwrap().1, "other.example:8080");
        let both = host("https://shop-a.example:1/x", "ignored").unwrap();
        assert_eq!(both, ("https://a.internal:1/x".into(), "a.internal:1".into()));
    }

    #[test]
    fn an_invalid_result_is_an_error() {
        let bare = rewrites(None, Some(("^/(.*)", "$1")));
        assert_eq!(rewritten(&bare, "/x", "h").unwrap_err(), "the rewritten URL is invalid");
        let long = rewrites(None, Some(("^(.*)$", "$1$1$1$1$1")));
        let url = format!("/{}", "a".repeat(16 << 10));
        assert_eq!(rewritten(&long, &url, "h").unwrap_err(), "the rewritten URL is invalid");
        let host = rewrites(Some(("^(.*)$", "$1/x")), None);
        assert_eq!(rewritten(&host, "/", "h").unwrap_err(), "the rewritten host is invalid");
    }

    #[test]
    fn a_replacement_is_checked() {
        let error = |regex, replacement| {
            Replacement::new(regex, replacement, Case::Sensitive).unwrap_err().to_string()
        };
        assert!(error("(", "").starts_with("`regex` is (: expected a regular expression"));
        assert!(error("(?=a)", "").contains("look-around"));
        assert_eq!(
            error("(a)", "$2"),
            "`replacement` is $2: expected groups from $0 to $1; $$ for a dollar sign"
        );
        for text in ["a b", "a\r\nb", "a#b", "\u{e4}"] {
            assert!(error("a", text).contains("printable"), "{text}");
        }
    }
}
