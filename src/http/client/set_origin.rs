use std::task::{Context, Poll};

use http::{HeaderValue, Request, Uri, header::HOST};
use tower_service::Service;

use crate::http::Origin;

/// Sends requests to an endpoint's origin.
///
/// It replaces the scheme and the authority of the URI, keeps path and query, and sets the `Host`
/// header as [`HostHeader`] says.
#[derive(Clone, Debug)]
pub struct SetOrigin<S> {
    inner: S,
    origin: Origin,
    host: HostHeader,
}

/// The `Host` header of the requests that [`SetOrigin`] sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostHeader {
    /// The request's own `Host` header. Without one, clients derive it from the endpoint's
    /// authority. The default.
    #[default]
    Keep,
    /// The endpoint's authority.
    Endpoint,
    /// A fixed name.
    Fixed(HeaderValue),
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
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.origin.scheme().clone());
        parts.authority = Some(self.origin.authority().clone());
        let path = parts.path_and_query.take();
        // The authority form of CONNECT and the asterisk form have no path that is valid in a URI
        // with an authority.
        parts.path_and_query =
            path.filter(|path| path.as_str().starts_with('/')).or_else(|| "/".parse().ok());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let host = match &self.host {
            HostHeader::Keep => None,
            HostHeader::Endpoint => self.origin.host(),
            HostHeader::Fixed(host) => Some(host.clone()),
        };
        if let Some(host) = host {
            request.headers_mut().insert(HOST, host);
        }
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
    use super::*;

    fn redirected(uri: &str, host: HostHeader) -> (String, Option<String>) {
        let service = SetOrigin::new((), "http://10.0.0.1:8080".parse().unwrap()).host_header(host);
        let mut request =
            Request::builder().uri(uri).header(HOST, "shop.example").body(()).unwrap();
        service.redirect(&mut request);
        let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
        (request.uri().to_string(), host)
    }

    #[test]
    fn scheme_and_authority_are_replaced_and_path_and_query_kept() {
        for (uri, expected) in [
            ("/a/b?c=%20d", "http://10.0.0.1:8080/a/b?c=%20d"),
            ("https://shop.example/a?b", "http://10.0.0.1:8080/a?b"),
            ("https://shop.example", "http://10.0.0.1:8080/"),
            ("*", "http://10.0.0.1:8080/"),
            ("shop.example:443", "http://10.0.0.1:8080/"),
        ] {
            assert_eq!(redirected(uri, HostHeader::Keep).0, expected, "{uri}");
        }
    }

    #[test]
    fn the_host_header_is_kept_set_or_fixed() {
        let host = |host| redirected("/", host).1.unwrap();
        assert_eq!(host(HostHeader::Keep), "shop.example");
        assert_eq!(host(HostHeader::Endpoint), "10.0.0.1:8080");
        assert_eq!(host(HostHeader::Fixed(HeaderValue::from_static("x"))), "x");
    }
}
