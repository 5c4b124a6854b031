use std::task::{Context, Poll};

use http::{Method, Request, Uri, header::HOST, uri::PathAndQuery};
use tower_service::Service;

use crate::http::{HostHeader, Origin};

/// Sends requests to an endpoint's origin through any HTTP client.
///
/// It replaces the scheme and the authority of the URI, joins the origin's path and the request's,
/// keeps the query, and sets the `Host` header as [`HostHeader`] says. `OPTIONS *` keeps its
/// target, which clients that parse URLs, such as reqwest, reject. `CONNECT` loses its target,
/// which is the authority of the URI; the clients of `Pool` forward it.
///
/// A client over HTTP/2 derives `:authority` from the URI, so it names the endpoint's host there,
/// whatever the `Host` header. The clients of `Pool` (feature `http-client`) name one host.
#[derive(Clone, Debug)]
pub struct SetOrigin<S> {
    inner: S,
    origin: Origin,
    host: HostHeader,
}

impl<S> SetOrigin<S> {
    /// Sends requests through `inner` to `origin`.
    pub fn new(inner: S, origin: Origin) -> Self {
        Self { inner, origin, host: HostHeader::default() }
    }

    setters! {
        /// Sets the `Host` header of the requests. Default [`HostHeader::Keep`].
        pub fn host_header(host: HostHeader) => host = host;
    }

    /// Returns the origin that requests are sent to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn redirect<B>(&self, request: &mut Request<B>) {
        let host = self.host.of(request.headers(), request.uri(), || match self.host {
            // Clients derive it from the URI.
            HostHeader::Keep => None,
            _ => self.origin.host(),
        });
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host);
        }
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.origin.scheme().clone());
        parts.authority = Some(self.origin.authority().clone());
        let is_asterisk = |path: &PathAndQuery| path == "*" && request.method() == Method::OPTIONS;
        if !parts.path_and_query.as_ref().is_some_and(is_asterisk) {
            // The authority form of CONNECT has no path, and a URI with an authority needs one.
            let path = parts.path_and_query.filter(|path| path.as_str().starts_with('/'));
            let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
            parts.path_and_query = Some(self.origin.join(Some(&path)).unwrap_or(path));
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for SetOrigin<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        self.redirect(&mut request);
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn redirected(origin: &str, request: http::request::Builder, host: HostHeader) -> Request<()> {
        let service = SetOrigin::new((), origin.parse().unwrap()).host_header(host);
        let mut request = request.body(()).unwrap();
        service.redirect(&mut request);
        request
    }

    #[test]
    fn scheme_and_authority_are_replaced_and_path_and_query_kept() {
        for (origin, method, uri, expected) in [
            ("http://10.0.0.1:80", "GET", "/a/b?c=%20d", "http://10.0.0.1:80/a/b?c=%20d"),
            ("http://10.0.0.1:80", "GET", "https://shop.example/a?b", "http://10.0.0.1:80/a?b"),
            ("http://10.0.0.1:80", "GET", "https://shop.example", "http://10.0.0.1:80/"),
            ("http://10.0.0.1:80", "CONNECT", "shop.example:443", "http://10.0.0.1:80/"),
            ("http://10.0.0.1:80/api", "GET", "/a?b", "http://10.0.0.1:80/api/a?b"),
            ("http://[fe80::1%25eth0]:80", "GET", "/", "http://[fe80::1]:80/"),
        ] {
            let request = Request::builder().method(method).uri(uri);
            let request = redirected(origin, request, HostHeader::Keep);
            assert_eq!(request.uri().to_string(), expected, "{uri}");
        }
    }

    #[test]
    fn the_asterisk_form_stays_one() {
        let request = Request::options("*");
        let request = redirected("http://10.0.0.1:80/api", request, HostHeader::Keep);
        assert_eq!(request.uri().path(), "*");
        assert_eq!(request.uri().authority().unwrap(), "10.0.0.1:80");
        let request = redirected("http://10.0.0.1:80", Request::get("*"), HostHeader::Keep);
        assert_eq!(request.uri(), "http://10.0.0.1:80/");
    }

    #[test]
    fn the_host_header_is_kept_set_or_fixed() {
        let fixed = HostHeader::Fixed(HeaderValue::from_static("x"));
        for (host, sent, uri, expected) in [
            (HostHeader::Keep, Some("shop.example"), "http://real.example/", Some("shop.example")),
            (HostHeader::Keep, None, "http://real.example/", Some("real.example")),
            (HostHeader::Keep, None, "/", None),
            (HostHeader::Endpoint, Some("shop.example"), "/", Some("10.0.0.1:80")),
            (fixed, Some("shop.example"), "/", Some("x")),
        ] {
            let request = Request::builder().uri(uri);
            let request =
                sent.into_iter().fold(request, |request, host| request.header(HOST, host));
            let request = redirected("http://10.0.0.1:80", request, host);
            let host = request.headers().get(HOST).map(|host| host.to_str().unwrap());
            assert_eq!(host, expected);
        }
    }
}
