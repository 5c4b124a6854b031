use std::{
    fmt::{self, Write},
    sync::Arc,
};

use http::{Method, Uri};

use super::Peer;

/// The template of a request's path, such as `/users/{id}`. A request carries it in its extensions,
/// and the spans of its attempts are named by it.
///
/// A path may identify a user and is different for each request, so it is never part of a name.
///
/// ```
/// use http::Request;
/// use tower_lb::http::trace::UrlTemplate;
///
/// let request = Request::get("/users/7").extension(UrlTemplate::new("/users/{id}")).body(())?;
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate(Arc<str>);

impl UrlTemplate {
    /// Creates a template. Use few different ones: each is a value of a label in a trace backend.
    pub fn new(template: impl Into<Arc<str>>) -> Self {
        Self(template.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the method if OpenTelemetry knows it. The names of others are chosen by callers, who
/// could make up any number of them.
pub(super) fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 10] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// The name of a CLIENT span.
pub(super) struct SpanName<'r> {
    pub(super) method: &'r Method,
    pub(super) template: Option<&'r str>,
}

impl fmt::Display for SpanName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(known_method(self.method).unwrap_or("HTTP"))?;
        self.template.map_or(Ok(()), |template| write!(f, " {template}"))
    }
}

/// The server that a request names, or the endpoint's if it names none.
pub(super) struct Server<'r> {
    pub(super) scheme: &'r str,
    /// Without brackets.
    pub(super) host: &'r str,
    pub(super) port: u16,
    base_path: &'r str,
}

impl<'r> Server<'r> {
    pub(super) fn of(uri: &'r Uri, peer: &'r Peer) -> Self {
        let Some(authority) = uri.authority() else {
            let base_path = peer.base_path();
            return Self { scheme: peer.scheme(), host: peer.host(), port: peer.port(), base_path };
        };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let scheme = uri.scheme_str().unwrap_or_else(|| peer.scheme());
        let default = if scheme == "https" { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default);
        Self { scheme, host: bare.unwrap_or(host), port, base_path: "" }
    }
}

/// The URL of a request without user name and password, and with `*` in place of the query, which
/// may contain secrets.
pub(super) struct FullUrl<'r> {
    pub(super) server: &'r Server<'r>,
    pub(super) uri: &'r Uri,
}

impl fmt::Display for FullUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { scheme, host, port, base_path } = self.server;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}")?,
            false => write!(f, "{scheme}://{host}:{port}")?,
        }
        write!(f, "{base_path}{}", self.uri.path())?;
        self.uri.query().map_or(Ok(()), |_| f.write_str("?*"))
    }
}

/// Displays at most `max` bytes of a text.
pub(super) struct Short<'t>(pub(super) &'t str, pub(super) usize);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, max) = *self;
        if text.len() <= max {
            return f.write_str(text);
        }
        let end = (0..=max).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        f.write_str(&text[..end])?;
        f.write_char('…')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_has_neither_credentials_nor_a_query() {
        let peer = Peer::named("10.0.0.1", 8080);
        for (uri, expected) in [
            ("/a/b?token=secret", "http://10.0.0.1:8080/a/b?*"),
            ("http://user:secret@shop.example/a", "http://shop.example:80/a"),
            ("https://shop.example:8443/?q", "https://shop.example:8443/?*"),
            ("http://[::1]:90/", "http://[::1]:90/"),
            ("*", "http://10.0.0.1:8080*"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let server = Server::of(&uri, &peer);
            assert_eq!(FullUrl { server: &server, uri: &uri }.to_string(), expected);
        }
    }

    #[test]
    fn only_known_methods_are_names() {
        let name = |method: &str, template| {
            let method = method.parse().unwrap();
            SpanName { method: &method, template }.to_string()
        };
        assert_eq!(name("GET", None), "GET");
        assert_eq!(name("POST", Some("/users/{id}")), "POST /users/{id}");
        assert_eq!(name("get", Some("/")), "HTTP /");
        assert_eq!(name("ATTACK-7", None), "HTTP");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(Short("abc", 3).to_string(), "abc");
        assert_eq!(Short("aüc", 2).to_string(), "a…");
    }
}
