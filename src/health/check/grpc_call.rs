use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_TYPE, TE},
};
use http_body::Body;
use tower_service::Service;

use super::{
    exchange::Exchange,
    grpc_check::{GRPC, TRAILERS, framed, grpc_status},
    unexpected_response::UnexpectedResponse,
};
use crate::{BoxError, ParseError, health::Check, request_path::request_path};

/// Passes if the response to a gRPC call has an expected status: by default, `OK`.
///
/// For servers without the health checking protocol. Any method will do: a server that answers
/// `UNIMPLEMENTED` (12) to an unknown one is alive. The call has one empty message, and goes
/// through the endpoint's own service, which must use HTTP/2. See
/// [`GrpcCheck`](crate::health::GrpcCheck) for servers with the protocol.
pub struct GrpcCall<B> {
    path: Uri,
    status: Arc<dyn Fn(u32) -> bool + Send + Sync>,
    headers: HeaderMap,
    body: PhantomData<fn() -> B>,
}

impl<B> GrpcCall<B> {
    /// Calls the method at `path`, such as `/shop.v1.Cart/Ping`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if `path` is not a path that starts with a slash.
    pub fn to(path: &str) -> Result<Self, ParseError> {
        let status = Arc::new(|code| code == 0);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, GRPC), (TE, TRAILERS)]);
        Ok(Self { path: request_path(path)?, status, headers, body: PhantomData })
    }

    setters! {
        /// Sets which codes of `grpc-status` pass. Default 0.
        pub fn status(is_good: impl Fn(u32) -> bool + Send + Sync + 'static)
            => status = Arc::new(is_good);
    }

    /// Sets a header, such as `User-Agent`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl<S, B, R> Check<S> for GrpcCall<B>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
    B: From<Bytes> + Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let mut request = Request::new(B::from(framed(&[])));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().clone_from(&self.headers);
        let status = Arc::clone(&self.status);
        Box::pin(async move {
            let exchange = Exchange::send(service, request).await?;
            let in_trailers = exchange.trailers.as_ref().and_then(grpc_status);
            let what = match in_trailers.or_else(|| grpc_status(&exchange.head.headers)) {
                Some(code) if status(code) => return Ok(()),
                Some(code) => format!("grpc-status {code}"),
                None => format!("no grpc-status, HTTP status {}", exchange.head.status),
            };
            Err(UnexpectedResponse::new(what).into())
        })
    }
}

impl<B> Clone for GrpcCall<B> {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            status: Arc::clone(&self.status),
            headers: self.headers.clone(),
            body: PhantomData,
        }
    }
}

impl<B> fmt::Debug for GrpcCall<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcCall").field("path", &self.path).finish_non_exhaustive()
    }
}
