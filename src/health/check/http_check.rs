use std::{fmt, marker::PhantomData, sync::Arc};

use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header::HOST,
};
use http_body::Body;
use tower_service::Service;

use super::{exchange::Exchange, unexpected_response::UnexpectedResponse};
use crate::{BoxError, ParseError, health::Check, request_path::request_path};

/// Passes if the endpoint responds to an HTTP request as expected: by default, with a status from
/// 200 to 299.
///
/// The request goes through the endpoint's own service, so it uses its connection pool and TLS. Its
/// body is the default of `B`, the type of request body that the service takes.
pub struct HttpCheck<B> {
    method: Method,
    path: Uri,
    headers: HeaderMap,
    status: Arc<dyn Fn(StatusCode) -> bool + Send + Sync>,
    body: Option<Arc<dyn Fn(&[u8]) -> bool + Send + Sync>>,
    request_body: PhantomData<fn() -> B>,
}

impl<B> HttpCheck<B> {
    /// Sends `GET` to `path`, which may have a query: `"/healthz?full"`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if `path` is not a path that starts with a slash.
    pub fn get(path: &str) -> Result<Self, ParseError> {
        Ok(Self {
            method: Method::GET,
            path: request_path(path)?,
            headers: HeaderMap::new(),
            status: Arc::new(|status| status.is_success()),
            body: None,
            request_body: PhantomData,
        })
    }

    /// Sets the `Host` header. By default, the endpoint's service sets it.
    #[must_use]
    pub fn host(self, host: HeaderValue) -> Self {
        self.header(HOST, host)
    }

    /// Sets a header, such as `User-Agent`. Default: the request has none.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    setters! {
        /// Sets the method. Default `GET`.
        pub fn method(method: Method) => method = method;
        /// Sets which statuses pass. Default 200 to 299.
        pub fn status(is_good: impl Fn(StatusCode) -> bool + Send + Sync + 'static)
            => status = Arc::new(is_good);
        /// Sets which bodies pass, by their first 64 KiB. By default, all do.
        pub fn body(is_good: impl Fn(&[u8]) -> bool + Send + Sync + 'static)
            => body = Some(Arc::new(is_good));
    }

    fn request(&self) -> Request<B>
    where
        B: Default,
    {
        let mut request = Request::new(B::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        request.headers_mut().clone_from(&self.headers);
        request
    }
}

impl<S, B, R> Check<S> for HttpCheck<B>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
    B: Default + Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let (request, status, body) = (self.request(), Arc::clone(&self.status), self.body.clone());
        Box::pin(async move {
            let exchange = Exchange::send(service, request).await?;
            if !status(exchange.head.status) {
                let what = format!("response status {}", exchange.head.status);
                return Err(UnexpectedResponse::new(what).into());
            }
            match body {
                Some(is_good) if !is_good(&exchange.body) => {
                    Err(UnexpectedResponse::new("unexpected response body").into())
                }
                _ => Ok(()),
            }
        })
    }
}

impl<B> Clone for HttpCheck<B> {
    fn clone(&self) -> Self {
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            status: Arc::clone(&self.status),
            body: self.body.clone(),
            request_body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for HttpCheck<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_starts_with_a_slash() {
        for path in ["/", "/healthz", "/a/b?c=d", "//a"] {
            assert_eq!(HttpCheck::<()>::get(path).unwrap().request().uri(), path);
        }
        for path in ["", "healthz", "*", "?a", "http://a/b", "a:80", "/a b", "/a#b", "/\n"] {
            let error = HttpCheck::<()>::get(path).unwrap_err();
            assert_eq!((error.what(), error.text()), ("path", path));
        }
    }
}
