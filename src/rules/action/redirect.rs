use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode, header, header::HOST, request::Parts, uri::Authority,
};

use super::template::{Keyword, Template};
use crate::{
    ConfigError,
    http::ClientConnection,
    http_semantics::text_response,
    rules::condition::{is_host, request_host},
};

/// Sends the client to another URL.
///
/// Each component of the URL is a template, and stays as it is in the request unless it is set:
///
/// | component | may have the keywords |
/// |---|---|
/// | [`protocol`](RedirectBuilder::protocol) | `#{protocol}` |
/// | [`host`](RedirectBuilder::host) | `#{host}` |
/// | [`port`](RedirectBuilder::port) | `#{port}` |
/// | [`path`](RedirectBuilder::path) | `#{host}` `#{path}` `#{port}` |
/// | [`query`](RedirectBuilder::query) | `#{host}` `#{path}` `#{port}` `#{protocol}` `#{query}` |
///
/// `#{path}` has no leading slash and `#{query}` no question mark. The default port of the protocol
/// and an empty query are left out. Protocol and port of the request are those of the
/// [`ClientConnection`] in its extensions; without one, they are those of its target or its `Host`.
///
/// A request without a valid host gets status 400. One that would be redirected to its own URL gets
/// status 508, because its client would repeat it.
///
/// ```
/// use http::StatusCode;
/// use tower_lb::rules::Redirect;
///
/// let to_https = Redirect::to_https();
/// let moved = Redirect::builder(StatusCode::FOUND)
///     .host("www.#{host}")
///     .path("/new/#{path}")
///     .build()?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    status: StatusCode,
    protocol: Protocol,
    host: Template,
    port: Port,
    path: Template,
    query: Template,
    /// As written, for people.
    texts: Texts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Same,
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Same,
    Is(u16),
}

/// The components as written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts {
    protocol: String,
    host: String,
    port: String,
    path: String,
    query: String,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            protocol: "#{protocol}".into(),
            host: "#{host}".into(),
            port: "#{port}".into(),
            path: "/#{path}".into(),
            query: "#{query}".into(),
        }
    }
}

impl Redirect {
    /// Redirects to the same URL with HTTPS on port 443, with status 301.
    #[must_use]
    pub fn to_https() -> Self {
        let texts = Texts { protocol: "https".into(), port: "443".into(), ..Texts::default() };
        let same = |keyword| Template::of(&[keyword]);
        let inner = Inner {
            status: StatusCode::MOVED_PERMANENTLY,
            protocol: Protocol::Https,
            host: same(Keyword::Host),
            port: Port::Is(443),
            path: Template::same_path(),
            query: same(Keyword::Query),
            texts,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a builder of a redirect with status 301, 302, 303, 307 or 308. It must change
    /// something other than the query.
    #[must_use]
    pub fn builder(status: StatusCode) -> RedirectBuilder {
        RedirectBuilder { status, texts: Texts::default() }
    }

    /// Returns the response to a request.
    pub(super) fn response(&self, head: &Parts) -> Response<Bytes> {
        let refused = |status, text: &'static str| text_response(status, text, None);
        let Some(url) = RequestUrl::of(head) else {
            return refused(StatusCode::BAD_REQUEST, "the host of the request is invalid\n");
        };
        let Some(location) = self.location(&url) else {
            return refused(StatusCode::BAD_REQUEST, "the host of the request is invalid\n");
        };
        if location == url.to_string() {
            let text = "the redirect leads to the same URL\n";
            return refused(StatusCode::LOOP_DETECTED, text);
        }
        let Ok(location) = HeaderValue::try_from(location) else {
            return refused(StatusCode::BAD_REQUEST, "the URL of the request is invalid\n");
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.inner.status;
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    /// Returns the new URL; `None` if its host is invalid, such as an address with a prefix.
    fn location(&self, url: &RequestUrl<'_>) -> Option<String> {
        let Inner { protocol, host, port, path, query, .. } = &*self.inner;
        let own_port = url.port.to_string();
        let value = |keyword| match keyword {
            Keyword::Protocol => url.scheme,
            Keyword::Host => url.host,
            Keyword::Port => &own_port,
            Keyword::Path => url.path.strip_prefix('/').unwrap_or(url.path),
            Keyword::Query => url.query,
        };
        let written = |template: &Template| {
            let mut text = String::new();
            template.write(&mut text, value);
            text
        };
        let (host, path, query) = (written(host), written(path), written(query));
        if !is_host(&host) {
            return None;
        }
        let url = RequestUrl {
            scheme: match protocol {
                Protocol::Same => url.scheme,
                Protocol::Http => "http",
                Protocol::Https => "https",
            },
            host: &host,
            port: match port {
                Port::Same => url.port,
                Port::Is(port) => *port,
            },
            path: &path,
            query: &query,
        };
        Some(url.to_string())
    }
}

/// `301 to https://#{host}:443/#{path}?#{query}`
impl std::fmt::Display for Redirect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Texts { protocol, host, port, path, query } = &self.inner.texts;
        let status = self.inner.status.as_u16();
        write!(f, "{status} to {protocol}://{host}:{port}{path}")?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{query}") }
    }
}

/// The URL of a request, as its client knows it.
struct RequestUrl<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    path: &'a str,
    query: &'a str,
}

impl<'a> RequestUrl<'a> {
    fn of(head: &'a Parts) -> Option<Self> {
        let host = request_host(head)?;
        let connection = head.extensions.get::<ClientConnection>();
        let scheme = match connection {
            Some(connection) => {
                if connection.is_tls() {
                    "https"
                } else {
                    "http"
                }
            }
            None => head.uri.scheme_str().unwrap_or("http"),
        };
        let port = match connection {
            Some(connection) => connection.local().port(),
            None => named_port(head).unwrap_or_else(|| default_port(scheme)),
        };
        let path = head.uri.path();
        Some(Self { scheme, host, port, path, query: head.uri.query().unwrap_or_default() })
    }
}

fn named_port(head: &Parts) -> Option<u16> {
    if let Some(authority) = head.uri.authority() {
        return authority.port_u16();
    }
    head.headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok()?.port_u16()
}

fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

impl std::fmt::Display for RequestUrl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != default_port(self.scheme) {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "{}", Encoded(self.path))?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", Encoded(self.query)) }
    }
}

/// A part of a request's URL, in which bytes that no URL may have are percent-encoded.
struct Encoded<'a>(&'a str);

impl std::fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        if self.0.bytes().all(is_plain) {
            return f.write_str(self.0);
        }
        self.0.bytes().try_for_each(|byte| {
            if is_plain(byte) { write!(f, "{}", byte as char) } else { write!(f, "%{byte:02X}") }
        })
    }
}

/// Configures a [`Redirect`].
#[derive(Clone, Debug)]
pub struct RedirectBuilder {
    status: StatusCode,
    texts: Texts,
}

impl RedirectBuilder {
    setters! {
        /// Sets the protocol: `http` or `https`, whatever the case. Default `#{protocol}`. The port
        /// stays, unless it is set as well.
        pub fn protocol(template: impl Into<String>) => texts.protocol = template.into();
        /// Sets the host. Default `#{host}`.
        pub fn host(template: impl Into<String>) => texts.host = template.into();
        /// Sets the port, from 1 to 65535. Default `#{port}`.
        pub fn port(template: impl Into<String>) => texts.port = template.into();
        /// Sets the path, which starts with `/`. Default `/#{path}`.
        pub fn path(template: impl Into<String>) => texts.path = template.into();
        /// Sets the query, without the `?`. Default `#{query}`.
        pub fn query(template: impl Into<String>) => texts.query = template.into();
    }

    /// Returns the redirect.
    ///
    /// # Errors
    ///
    /// If the status is not one of those of redirects, if a component has an unknown keyword or
    /// invalid characters, or if neither protocol, host, port nor path changes, so that the
    /// redirect would lead to itself.
    pub fn build(self) -> Result<Redirect, ConfigError> {
        let Self { status, texts } = self;
        let code = status.as_u16();
        let is_redirect = matches!(code, 301 | 302 | 303 | 307 | 308);
        ConfigError::unless(is_redirect, "status", code, "301, 302, 303, 307 or 308")?;
        let invalid = |field: &'static str, expected: &'static str, text: &str| {
            Err(ConfigError::new(field, expected).with_value(text))
        };

        let protocol = match &texts.protocol {
            text if text == "#{protocol}" => Protocol::Same,
            text if text.eq_ignore_ascii_case("http") => Protocol::Http,
            text if text.eq_ignore_ascii_case("https") => Protocol::Https,
            text => return invalid("protocol", "http, https or #{protocol}", text),
        };
        let port = match &*texts.port {
            "#{port}" => Port::Same,
            text => {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                match text.parse() {
                    Ok(port) if port > 0 && is_number => Port::Is(port),
                    _ => return invalid("port", "a number from 1 to 65535, or #{port}", text),
                }
            }
        };
        use Keyword::{Host, Path, Port as PortKeyword, Protocol as ProtocolKeyword, Query};
        let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(&byte);
        let host = Template::parse("host", &texts.host, &[Host], is_host_byte)?;
        let is_host_template = match host.plain() {
            Some(text) => is_host(text),
            // An address has no other parts.
            None => !texts.host.contains(['[', ']', ':']),
        };
        if !is_host_template {
            return invalid("host", "a host without a port", &texts.host);
        }
        let is_url_byte = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        let is_path_byte = |byte| is_url_byte(byte) && byte != b'?';
        let path = Template::parse("path", &texts.path, &[Host, Path, PortKeyword], is_path_byte)?;
        if !texts.path.starts_with('/') {
            return invalid("path", "a path that starts with /", &texts.path);
        }
        let keywords = [Host, Path, PortKeyword, ProtocolKeyword, Query];
        let query = Template::parse("query", &texts.query, &keywords, is_url_byte)?;
        if texts.query.starts_with('?') {
            return invalid("query", "a query without the leading ?", &texts.query);
        }

        let default = Texts::default();
        let changes_nothing = protocol == Protocol::Same
            && port == Port::Same
            && (&texts.host, &texts.path) == (&default.host, &default.path);
        if changes_nothing {
            let expected = "a change of protocol, host, port or path; it leads to itself";
            return Err(ConfigError::new("redirect", expected));
        }
        let inner = Inner { status, protocol, host, port, path, query, texts };
        Ok(Redirect { inner: Arc::new(inner) })
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn found() -> RedirectBuilder {
        Redirect::builder(StatusCode::FOUND)
    }

    fn head(uri: &str, host: &str, connection: Option<(u16, bool)>) -> Parts {
        let (mut head, ()) = Request::get(uri).header(HOST, host).body(()).unwrap().into_parts();
        if let Some((port, tls)) = connection {
            let peer = ([127, 0, 0, 1], 9).into();
            let connection = ClientConnection::new(peer, ([127, 0, 0, 1], port).into()).tls(tls);
            head.extensions.insert(connection);
        }
        head
    }

    fn location(redirect: &Redirect, head: &Parts) -> String {
        let response = redirect.response(head);
        match response.headers().get(header::LOCATION) {
            Some(location) => location.to_str().unwrap().to_owned(),
            None => response.status().as_u16().to_string(),
        }
    }

    #[test]
    fn components_are_put_together() {
        let on_80 = Some((80, false));
        let on_8080 = Some((8080, false));
        let on_443 = Some((443, true));
        for (builder, uri, connection, expected) in [
            (found().protocol("HTTPS").port("443"), "/a?b", on_80, "https://h.example/a?b"),
            (found().protocol("https"), "/a", on_80, "https://h.example:80/a"),
            (found().protocol("https").port("8443"), "/", on_80, "https://h.example:8443/"),
            (found().port("80"), "/a", on_8080, "http://h.example/a"),
            (found().host("www.#{host}"), "/a?", on_8080, "http://www.h.example:8080/a"),
            (found().host("other.example"), "/a?b=c", on_443, "https://other.example/a?b=c"),
            (found().path("/x/#{path}"), "/a/b", on_443, "https://h.example/x/a/b"),
            (found().path("/#{host}/#{port}"), "/a", on_443, "https://h.example/h.example/443"),
            (
                found().path("/x").query("q=#{query}&from=#{protocol}-#{host}-#{port}-#{path}"),
                "/a?b",
                on_8080,
                "http://h.example:8080/x?q=b&from=http-h.example-8080-a",
            ),
            (found().path("/x").query(""), "/a?b", on_80, "http://h.example/x"),
            // What is put in is not read again.
            (
                found().path("/x/#{path}"),
                "/%23%7Bhost%7D",
                on_80,
                "http://h.example/x/%23%7Bhost%7D",
            ),
            (
                found().path("/x/#{path}"),
                "//evil.example",
                on_80,
                "http://h.example/x//evil.example",
            ),
            // It leads to the same URL.
            (found().port("80"), "/a?b", on_80, "508"),
            (found().path("/a"), "/a", on_80, "508"),
        ] {
            let redirect = builder.clone().build().unwrap();
            let head = head(uri, "h.example:7", connection);
            assert_eq!(location(&redirect, &head), expected, "{builder:?}");
        }
        let https = Redirect::to_https();
        assert_eq!(location(&https, &head("/", "h.example:8080", None)), "https://h.example/");
        assert_eq!(location(&https, &head("https://h.example/", "x", None)), "508");
        assert_eq!(https.to_string(), "301 to https://#{host}:443/#{path}?#{query}");
        let same = Redirect::builder(StatusCode::MOVED_PERMANENTLY).protocol("https").port("443");
        assert_eq!(same.build().unwrap(), https);
    }

    #[test]
    fn the_host_of_the_request_is_checked() {
        for host in ["evil.example/path", "u@evil.example", "a b", "evil.example\\", ""] {
            let head = head("/", host, Some((80, false)));
            assert_eq!(location(&Redirect::to_https(), &head), "400", "{host}");
        }
        let head = head("/", "[::1]:80", Some((80, false)));
        assert_eq!(location(&Redirect::to_https(), &head), "https://[::1]/");
    }

    #[test]
    fn a_redirect_is_checked() {
        let status = |code| Redirect::builder(StatusCode::from_u16(code).unwrap()).path("/x");
        for (builder, field) in [
            (found(), "redirect"),
            (found().query("a=b"), "redirect"),
            (status(304), "status"),
            (status(200), "status"),
            (found().protocol("ftp"), "protocol"),
            (found().protocol("#{host}"), "protocol"),
            (found().port("0"), "port"),
            (found().port("+80"), "port"),
            (found().port("65536"), "port"),
            (found().host("#{path}"), "host"),
            (found().host("a/b"), "host"),
            (found().host("a:80"), "host"),
            (found().host(""), "host"),
            (found().host("[::1"), "host"),
            (found().path("x"), "path"),
            (found().path("/#{query}"), "path"),
            (found().path("/#{protocol}"), "path"),
            (found().path("/a?b"), "path"),
            (found().path("/a#b"), "path"),
            (found().path("/a\r\nset-cookie: x"), "path"),
            (found().path("/x").query("?a"), "query"),
            (found().path("/x").query("#{nonsense}"), "query"),
        ] {
            let error = builder.clone().build().unwrap_err();
            assert_eq!(error.field(), field, "{builder:?}");
        }
        for code in [301, 302, 303, 307, 308] {
            assert_eq!(status(code).build().unwrap().inner.status.as_u16(), code);
        }
    }

    proptest! {
        /// A client cannot write another host, a second header or another redirect.
        #[test]
        fn any_request_is_redirected_to_its_own_host(
            path in "/[!-~&&[^?#]]{0,20}", query in "[!-~&&[^#]]{0,20}", host in "[ -~]{0,20}",
        ) {
            let Ok(request) = Request::get(format!("{path}?{query}")).header(HOST, &host).body(()) else {
                return Ok(());
            };
            let (head, ()) = request.into_parts();
            let response = Redirect::to_https().response(&head);
            if let Some(location) = response.headers().get(header::LOCATION) {
                let url: http::Uri = location.to_str().unwrap().parse().unwrap();
                prop_assert_eq!(url.host(), request_host(&head));
                prop_assert_eq!(url.authority().unwrap().as_str(), request_host(&head).unwrap());
                prop_assert_eq!(url.scheme_str(), Some("https"));
            }
        }
    }
}
