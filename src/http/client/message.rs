//! Requests in the form of the connection that they are sent on.
//!
//! A request is first [addressed](address) in the form of HTTP/1.1, once. Then it gets the form of
//! its connection, perhaps of another one if it comes back unsent.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;
use hyper::ext::Protocol;

use crate::{
    BoxError,
    error::{ClientError, ClientErrorKind},
    header_fields::has_token,
    hop_by_hop::HopByHop,
    http::{HostHeader, Origin, websocket},
};

/// Where requests go, and the host that they name.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) origin: Origin,
    host_header: HostHeader,
    /// The authority of the origin.
    host: Option<HeaderValue>,
}

impl Target {
    pub(super) fn new(origin: Origin, host_header: HostHeader) -> Self {
        Self { host: origin.host(), origin, host_header }
    }
}

/// Sets the `Host` header and reduces the URI to the request target of HTTP/1.1.
pub(super) fn address<B>(request: &mut Request<B>, target: &Target) -> Result<(), ClientError> {
    let (headers, uri) = (request.headers(), request.uri());
    if let Some(host) = target.host_header.of(headers, uri, || target.host.clone()) {
        request.headers_mut().insert(HOST, host);
    }
    let uri = request.uri();
    if is_tunnel(request) {
        let Some(authority) = uri.authority().cloned() else {
            return Err(invalid("the target of CONNECT is not a host and a port"));
        };
        *request.uri_mut() = Uri::from(authority);
        return Ok(());
    }
    let is_asterisk = uri.path() == "*";
    if is_asterisk && request.method() != Method::OPTIONS {
        return Err(invalid("only OPTIONS has the target *"));
    }
    let path = uri.path_and_query();
    let joined = if is_asterisk { None } else { target.origin.join(path) };
    // Most requests come in origin form already.
    if joined.is_some() || uri.scheme().is_some() || uri.authority().is_some() {
        let path = joined.or_else(|| path.cloned());
        *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    }
    Ok(())
}

/// Returns whether the request is a plain `CONNECT`, whose target is an authority. The extended one
/// of RFC 8441 has a path as any other request.
fn is_tunnel<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none()
}

fn invalid(reason: impl Into<BoxError>) -> ClientError {
    ClientError::new(ClientErrorKind::InvalidRequest, reason)
}

/// Gives an addressed request the form of HTTP/1.1.
pub(super) fn to_http1<B: Body>(request: &mut Request<B>) -> Result<(), ClientError> {
    // hyper drops the body of a request that has another version.
    *request.version_mut() = Version::HTTP_11;
    if !is_tunnel(request) {
        if request.method() == Method::CONNECT {
            return Err(invalid("an extended CONNECT needs a connection with HTTP/2"));
        }
        // It has been in the form of HTTP/2, and came back unsent.
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str()).map_err(invalid)?;
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
            request.headers_mut().insert(HOST, host);
        }
        let body = request.body();
        let has_unknown_length = !body.is_end_stream() && body.size_hint().exact().is_none();
        let headers = request.headers_mut();
        let has_framing =
            headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        // Without it, hyper sends the body of some methods and drops that of others, such as GET.
        if has_unknown_length && !has_framing {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    let headers = request.headers_mut();
    // RFC 9110, 10.1.4: a sender of TE names it, so that intermediaries do not forward it.
    if headers.contains_key(TE) && !has_token(headers, &CONNECTION, "te") {
        headers.append(CONNECTION, HeaderValue::from_static("TE"));
    }
    Ok(())
}

/// Gives an addressed request the form of HTTP/2.
pub(super) fn to_http2<B>(request: &mut Request<B>, scheme: &Scheme) -> Result<(), ClientError> {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    let host = headers.remove(HOST);
    let accepts_trailers = has_token(headers, &TE, "trailers");
    HopByHop::of(headers).remove_from(headers);
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_tunnel(request) || request.uri().authority().is_some() {
        return Ok(());
    }
    let host = host.ok_or_else(|| invalid("the request names no host"))?;
    let authority = Authority::try_from(host.as_bytes()).map_err(invalid)?;
    if authority.as_str().contains('@') {
        return Err(invalid("the host names a user"));
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts).map_err(invalid)?;
    Ok(())
}

/// Returns whether the request asks to use the connection for another protocol.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && has_token(headers, &CONNECTION, "upgrade")
}

/// Turns the request for a WebSocket of HTTP/1.1 into that of HTTP/2 (RFC 8441, 5). Returns the
/// value of `Sec-WebSocket-Accept` that HTTP/1.1 clients expect, as HTTP/2 has none.
pub(super) fn to_extended_connect<B>(
    request: &mut Request<B>,
    scheme: &Scheme,
) -> Result<HeaderValue, ClientError> {
    let headers = request.headers_mut();
    let key = headers.remove(SEC_WEBSOCKET_KEY);
    let (Some(key), true) = (key, has_token(headers, &UPGRADE, "websocket")) else {
        return Err(invalid("HTTP/2 connections can be upgraded to WebSocket only"));
    };
    to_http2(request, scheme)?;
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    HeaderValue::try_from(websocket::accept(key.as_bytes())).map_err(invalid)
}

/// Turns the response to an extended CONNECT into that of HTTP/1.1.
pub(super) fn from_extended_connect<B>(response: &mut Response<B>, accept: HeaderValue) {
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::request::Builder;
    use http_body_util::{Empty, Full, StreamBody};

    use super::*;

    fn target(origin: &str, host: HostHeader) -> Target {
        Target::new(origin.parse().unwrap(), host)
    }

    /// Returns the request line and the header fields of HTTP/1.1.
    fn http1(target: &Target, request: Builder) -> Result<String, ClientErrorKind> {
        let mut request = request.body(Empty::<Bytes>::new()).unwrap();
        address(&mut request, target).map_err(|error| error.kind())?;
        to_http1(&mut request).map_err(|error| error.kind())?;
        Ok(shown(&request))
    }

    fn http2(target: &Target, request: Builder) -> Result<String, ClientErrorKind> {
        let mut request = request.body(Empty::<Bytes>::new()).unwrap();
        address(&mut request, target).map_err(|error| error.kind())?;
        to_http2(&mut request, &Scheme::HTTP).map_err(|error| error.kind())?;
        Ok(shown(&request))
    }

    fn shown<B>(request: &Request<B>) -> String {
        let mut text = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            text += &format!("|{name}: {}", value.to_str().unwrap());
        }
        text
    }

    #[test]
    fn http1_gets_the_target_and_the_host_in_its_form() {
        let plain = target("http://10.0.0.1:80", HostHeader::Keep);
        let based = target("http://10.0.0.1:80/api", HostHeader::Endpoint);
        let zoned = target("http://[fe80::1%25eth0]:80", HostHeader::Endpoint);
        for (target, request, expected) in [
            (&plain, Request::get("/a?b"), "GET /a?b HTTP/1.1|host: 10.0.0.1:80"),
            (&plain, Request::get("/").header(HOST, "a.b"), "GET / HTTP/1.1|host: a.b"),
            (&plain, Request::get("http://a.b/c"), "GET /c HTTP/1.1|host: a.b"),
            (&plain, Request::get("https://u:p@a.b:1"), "GET / HTTP/1.1|host: a.b:1"),
            (&plain, Request::options("*"), "OPTIONS * HTTP/1.1|host: 10.0.0.1:80"),
            (&based, Request::options("*"), "OPTIONS * HTTP/1.1|host: 10.0.0.1:80"),
            (&based, Request::get("http://a.b/c?d"), "GET /api/c?d HTTP/1.1|host: 10.0.0.1:80"),
            (&plain, Request::connect("a.b:443"), "CONNECT a.b:443 HTTP/1.1|host: a.b:443"),
            (&zoned, Request::get("/"), "GET / HTTP/1.1|host: [fe80::1]:80"),
            (
                &plain,
                Request::get("/").version(Version::HTTP_2).header(TE, "trailers"),
                "GET / HTTP/1.1|te: trailers|host: 10.0.0.1:80|connection: TE",
            ),
        ] {
            assert_eq!(http1(target, request).as_deref(), Ok(expected));
        }
        for request in [Request::get("*"), Request::connect("/")] {
            assert_eq!(http1(&plain, request), Err(ClientErrorKind::InvalidRequest));
        }
        let websocket =
            Request::connect("http://a.b/c").extension(Protocol::from_static("websocket"));
        assert_eq!(http1(&plain, websocket), Err(ClientErrorKind::InvalidRequest));
    }

    #[test]
    fn http2_gets_one_host_and_no_fields_of_a_connection() {
        let plain = target("http://10.0.0.1:80", HostHeader::Keep);
        let based = target("http://10.0.0.1:80/api", HostHeader::Endpoint);
        for (target, request, expected) in [
            (&plain, Request::get("/a"), "GET http://10.0.0.1:80/a HTTP/2.0"),
            (&plain, Request::get("/").header(HOST, "a.b"), "GET http://a.b/ HTTP/2.0"),
            (&plain, Request::get("http://x/").header(HOST, "a.b"), "GET http://a.b/ HTTP/2.0"),
            (
                &based,
                Request::get("/c").header(HOST, "a.b"),
                "GET http://10.0.0.1:80/api/c HTTP/2.0",
            ),
            (
                &based,
                Request::connect("http://a.b/c").extension(Protocol::from_static("websocket")),
                "CONNECT http://10.0.0.1:80/api/c HTTP/2.0",
            ),
            (&plain, Request::connect("a.b:443"), "CONNECT a.b:443 HTTP/2.0"),
            (
                &plain,
                Request::get("/")
                    .header(CONNECTION, "close")
                    .header(CONNECTION, "x-secret, te")
                    .header("x-secret", "1")
                    .header("keep-alive", "1")
                    .header(TE, "gzip, trailers")
                    .header("x-kept", "1"),
                "GET http://10.0.0.1:80/ HTTP/2.0|te: trailers|x-kept: 1",
            ),
        ] {
            let found = http2(target, request).unwrap();
            let mut found: Vec<_> = found.split('|').collect();
            found[1..].sort_unstable();
            assert_eq!(found.join("|"), expected);
        }
        let odd = Request::get("/").header(HOST, "a b");
        assert_eq!(http2(&plain, odd), Err(ClientErrorKind::InvalidRequest));
    }

    #[test]
    fn a_request_changes_its_form_when_it_comes_back() {
        let target = target("http://10.0.0.1:80/api", HostHeader::Keep);
        let mut request =
            Request::get("/a").header(HOST, "a.b").body(Empty::<Bytes>::new()).unwrap();
        address(&mut request, &target).unwrap();
        for _ in 0..2 {
            to_http2(&mut request, &Scheme::HTTPS).unwrap();
            assert_eq!(shown(&request), "GET https://a.b/api/a HTTP/2.0");
            to_http1(&mut request).unwrap();
            assert_eq!(shown(&request), "GET /api/a HTTP/1.1|host: a.b");
        }
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_whatever_the_method() {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST, Method::OPTIONS] {
            let stream = StreamBody::new(futures::stream::pending::<
                Result<http_body::Frame<Bytes>, std::io::Error>,
            >());
            let mut request = Request::new(stream);
            *request.method_mut() = method.clone();
            *request.version_mut() = Version::HTTP_2;
            to_http1(&mut request).unwrap();
            assert_eq!(request.headers()[TRANSFER_ENCODING], "chunked", "{method}");
            assert_eq!(request.version(), Version::HTTP_11);
        }
        let mut request = Request::new(Full::new(Bytes::from_static(b"x")));
        to_http1(&mut request).unwrap();
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_websocket_is_opened_by_extended_connect() {
        let request = Request::get("/chat")
            .header(HOST, "a.b")
            .header(CONNECTION, "keep-alive, Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-version", "13");
        let mut request = request.body(()).unwrap();
        assert!(is_upgrade(request.headers()));
        address(&mut request, &target("http://h:1", HostHeader::Keep)).unwrap();
        let accept = to_extended_connect(&mut request, &Scheme::HTTPS).unwrap();
        // The example of RFC 6455, 1.3.
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let expected = "CONNECT https://a.b/chat HTTP/2.0|sec-websocket-version: 13";
        assert_eq!(shown(&request), expected);
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        let mut response = Response::new(());
        from_extended_connect(&mut response, accept);
        assert_eq!(response.status(), 101);
        let mut refused = Response::builder().status(403).body(()).unwrap();
        from_extended_connect(&mut refused, HeaderValue::from_static("x"));
        assert!(refused.headers().is_empty());
        let mut other = Request::get("/").header(UPGRADE, "x").body(()).unwrap();
        assert!(to_extended_connect(&mut other, &Scheme::HTTPS).is_err());
    }
}
