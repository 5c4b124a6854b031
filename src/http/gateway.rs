use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError, Error,
    escape::{Escaped, EscapedChain},
    hop_by_hop::screen_trailers,
    http::body::PollFrame,
    http_semantics::{EdgeFailure, FromGateway, text_response},
    log_limit::LogLimits,
    outcome::Outcome,
};

/// Turns the errors of a balancer into responses, as a gateway does.
///
/// The result can be served by axum as a fallback service, or by hyper.
///
/// | error | status |
/// |---|---|
/// | [`Rejected`](crate::limit::Rejected) by a rate limit | 429, with `Retry-After` |
/// | `Rejected` by another limit, or [`Error::Overloaded`] | 503, with `Retry-After: 1` |
/// | no endpoint can get the request | 503 |
/// | the request body failed, or the request is invalid ([`CallerError`]) | 400 |
/// | the request body failed by a timeout | 408 |
/// | the request body exceeds [`Limited`](http_body_util::Limited) | 413 |
/// | an HTTP/2 server refused the stream | 503, with `Retry-After: 1` |
/// | a timeout ([`Outcome::of_error`]) of an attempt or of all attempts | 504 |
/// | any other error: no connection, a failed one, an invalid response, a request that cannot be sent | 502 |
///
/// The bodies contain one constant line of text and no address of an endpoint. The errors are
/// logged as `tracing` events, one per endpoint and minute at `WARN` and the others at `DEBUG`. A
/// request waits as long as the balancer permits: set
/// [`fail_fast`](crate::balance::Builder::fail_fast).
///
/// [`guide::errors`](crate::guide::errors) lists the errors of each client library.
///
/// [`CallerError`]: crate::outcome::CallerError
/// [`Error::Overloaded`]: crate::Error::Overloaded
#[derive(Clone, Debug)]
pub struct Gateway<S> {
    /// `None` once `poll_ready` of the inner service has failed: it must not be called any more.
    inner: Option<S>,
    failures_log: Arc<LogLimits<String>>,
}

impl<S> Gateway<S> {
    /// Creates a gateway in front of a balancer, or of the layers around one.
    pub fn new(inner: S) -> Self {
        Self { inner: Some(inner), failures_log: Arc::default() }
    }
}

/// Wraps services in [`Gateway`].
#[derive(Clone, Copy, Debug, Default)]
pub struct GatewayLayer;

impl<S> Layer<S> for GatewayLayer {
    type Service = Gateway<S>;

    fn layer(&self, inner: S) -> Gateway<S> {
        Gateway::new(inner)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Gateway<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<GatewayBody<ResBody>>;
    type Error = Infallible;
    type Future = GatewayFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Some(inner) = &mut self.inner {
            if let Err(error) = ready!(inner.poll_ready(cx)) {
                tracing::error!(
                    error = %EscapedChain(&*error.into()),
                    "the gateway's service has failed; every request gets status 503"
                );
                self.inner = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let response = self.inner.as_mut().map(|inner| inner.call(request));
        GatewayFuture { response, failures_log: Arc::clone(&self.failures_log) }
    }
}

pin_project! {
    /// The response future of [`Gateway`].
    #[derive(Debug)]
    pub struct GatewayFuture<F> {
        // `None` if the inner service has failed.
        #[pin]
        response: Option<F>,
        failures_log: Arc<LogLimits<String>>,
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E: Into<BoxError>> Future for GatewayFuture<F> {
    type Output = Result<Response<GatewayBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(response) = this.response.as_pin_mut() else {
            return Poll::Ready(Ok(respond(EdgeFailure::Unavailable)));
        };
        Poll::Ready(Ok(match ready!(response.poll(cx)) {
            Ok(response) => response.map(GatewayBody::endpoint),
            Err(error) => {
                let error = error.into();
                let failure = EdgeFailure::of_error(&*error, Outcome::of_error);
                let status = failure.status();
                // Clients could fill the log with their own faults.
                if status.is_server_error() {
                    log_failure(this.failures_log, &*error, status);
                } else {
                    tracing::debug!(
                        error = %EscapedChain(&*error),
                        status = status.as_u16(),
                        "request refused"
                    );
                }
                respond(failure)
            }
        }))
    }
}

/// Logs a failed request at `WARN`, or at `DEBUG` if its endpoint, or the same status without an
/// endpoint, has failed within a minute.
#[cold]
fn log_failure(
    log: &LogLimits<String>,
    error: &(dyn std::error::Error + 'static),
    status: StatusCode,
) {
    let endpoint = Error::find(error).and_then(Error::endpoint);
    let (cause, shown) =
        (EscapedChain(error), endpoint.map(|endpoint| tracing::field::display(Escaped(endpoint))));
    let status_code = status.as_u16();
    match log.pass(endpoint.unwrap_or(status.as_str())) {
        Some(suppressed) => tracing::warn!(
            endpoint = shown,
            error = %cause,
            status = status_code,
            suppressed,
            "request failed"
        ),
        None => tracing::debug!(
            endpoint = shown,
            error = %cause,
            status = status_code,
            "request failed"
        ),
    }
}

/// Returns a response of this side, marked as such.
pub(crate) fn own_response<B>(mut response: Response<Bytes>) -> Response<GatewayBody<B>> {
    response.extensions_mut().insert(FromGateway);
    response.map(GatewayBody::text)
}

fn respond<B>(failure: EdgeFailure) -> Response<GatewayBody<B>> {
    let text = match failure {
        EdgeFailure::BadRequest(StatusCode::PAYLOAD_TOO_LARGE) => "the request is too large\n",
        EdgeFailure::BadRequest(StatusCode::REQUEST_TIMEOUT) => "the request took too long\n",
        EdgeFailure::BadRequest(_) => "the request is invalid or incomplete\n",
        EdgeFailure::RateLimited { .. } => "too many requests\n",
        EdgeFailure::Overloaded { .. } => "overloaded\n",
        EdgeFailure::Unavailable => "no endpoint available\n",
        EdgeFailure::Timeout => "no response in time\n",
        EdgeFailure::BadGateway => "the endpoint could not be reached\n",
    };
    own_response(text_response(failure.status(), text, failure.retry_after()))
}

pin_project! {
    /// A response body at the edge: the body of the endpoint, or a line of text.
    ///
    /// Data passes through unchanged. Trailers lose the fields of a connection and others that have
    /// no place there.
    #[derive(Debug)]
    pub struct GatewayBody<B> {
        #[pin]
        body: Either<B, Full<Bytes>>,
    }
}

impl<B> GatewayBody<B> {
    /// Returns the body of an endpoint.
    pub(crate) fn endpoint(body: B) -> Self {
        Self { body: Either::Left(body) }
    }

    /// Returns a text in one piece.
    fn text(text: Bytes) -> Self {
        Self { body: Either::Right(Full::new(text)) }
    }
}

impl<B> Default for GatewayBody<B> {
    /// Returns an empty body.
    fn default() -> Self {
        Self::text(Bytes::new())
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for GatewayBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<Bytes> {
        let mut frame = ready!(self.project().body.poll_frame(cx));
        if let Some(trailers) = frame.as_mut().and_then(|f| f.as_mut().ok()?.trailers_mut()) {
            screen_trailers(trailers);
        }
        Poll::Ready(frame)
    }

    size_of_inner!(body);
}
