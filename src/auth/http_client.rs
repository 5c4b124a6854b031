use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::{
    BoxError,
    body_reader::{BodyReader, ReadError},
    sync::lock,
};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The client that fetches key sets and talks to an identity provider: any HTTP service, such as
/// the pooled [`Client`](crate::http::Client), a balancer, or hyper-util's client.
///
/// Requests have an absolute URI and no `Host`, which clients set from it. Responses are read up to
/// a limit and within a time limit. Redirects are not followed, and the service should not follow
/// them either: a redirect could lead to a place that is not trusted. Clones share the service.
#[derive(Clone)]
pub struct HttpClient {
    exchange: Arc<dyn Exchange>,
}

/// How much of a response is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct FetchLimits {
    pub(super) bytes: usize,
    pub(super) timeout: Duration,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum FetchError {
    /// There was none in time.
    Timeout,
    /// It exceeds the limit.
    TooLarge,
    /// The connection or the client failed.
    Transport(BoxError),
    /// Its status says that the server cannot or will not answer.
    Status(StatusCode),
}

impl HttpClient {
    /// Takes any HTTP service that can be cloned and sent to another thread.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<
                Request<Full<Bytes>>,
                Response = Response<B>,
                Error: Into<BoxError>,
                Future: Send,
            > + Clone
            + Send
            + 'static,
        B: Body<Error: Into<BoxError>> + Send + 'static,
    {
        Self { exchange: Arc::new(Shared(Mutex::new(service))) }
    }

    /// Sends a request and returns the response, whatever its status.
    pub(super) fn send(
        &self,
        request: Request<Full<Bytes>>,
        limits: FetchLimits,
    ) -> BoxFuture<Result<Response<Bytes>, FetchError>> {
        let exchange = self.exchange.exchange(request, limits.bytes);
        Box::pin(async move {
            let response = tokio::time::timeout(limits.timeout, exchange).await;
            response.unwrap_or(Err(FetchError::Timeout))
        })
    }

    /// Fetches a JSON document. Any status but 200 is an error.
    pub(super) fn get(
        &self,
        url: Uri,
        limits: FetchLimits,
    ) -> BoxFuture<Result<Bytes, FetchError>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::ACCEPT, json);
        let response = self.send(request, limits);
        Box::pin(async move {
            let response = response.await?;
            match response.status() {
                StatusCode::OK => Ok(response.into_body()),
                status => Err(FetchError::Status(status)),
            }
        })
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

trait Exchange: Send + Sync {
    fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> BoxFuture<Result<Response<Bytes>, FetchError>>;
}

/// A service of which each request clones one. The lock lets it be `Send` only.
struct Shared<S>(Mutex<S>);

impl<S, B> Exchange for Shared<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> BoxFuture<Result<Response<Bytes>, FetchError>> {
        let mut service = lock(&self.0).clone();
        Box::pin(async move {
            let failed = |error: S::Error| FetchError::Transport(error.into());
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
            let (head, body) = service.call(request).await.map_err(failed)?.into_parts();
            let (mut body, mut reader) = (pin!(body), BodyReader::default());
            let read = poll_fn(|cx| reader.poll(body.as_mut(), limit, cx)).await;
            let text = read.map_err(|error| match error {
                ReadError::TooLarge => FetchError::TooLarge,
                ReadError::Body(error) => FetchError::Transport(error),
            })?;
            Ok(Response::from_parts(head, text))
        })
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("there is no response in time"),
            Self::TooLarge => f.write_str("the response is too large"),
            Self::Transport(_) => f.write_str("the request failed"),
            Self::Status(status) => write!(f, "the response has status {}", status.as_u16()),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(error) => Some(&**error),
            _ => None,
        }
    }
}
