use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    escape::EscapedChain,
    limit::{Rejected, is_rejected},
    outcome::Outcome,
};

/// Turns a balancer's errors into responses, as a gateway gives them, so that it can be served: by
/// axum as a fallback service, or by hyper.
///
/// | error | status |
/// |---|---|
/// | [`Rejected`] by a rate limit | 429, with `Retry-After` |
/// | [`Rejected`] otherwise, or none reached | 503 |
/// | a timeout ([`Outcome::of_error`]), be it the endpoint's or of all attempts | 504 |
/// | the endpoint's, any other | 502 |
///
/// The bodies say no more than that; no address of an endpoint is given away. The errors themselves
/// are told as `tracing` events. A request waits as long as the balancer lets it: set
/// [`fail_fast`](crate::balance::Builder::fail_fast).
#[derive(Clone, Debug)]
pub struct Gateway<S> {
    inner: S,
    /// The inner service can never work again and must not be called.
    broken: bool,
}

impl<S> Gateway<S> {
    /// A gateway in front of a balancer, or of layers around one.
    pub fn new(inner: S) -> Self {
        Self { inner, broken: false }
    }
}

/// Wraps services into [`Gateway`]s.
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
        if !self.broken {
            if let Err(error) = ready!(self.inner.poll_ready(cx)) {
                tracing::error!(error = %EscapedChain(&*error.into()), "the gateway has no service any more");
                self.broken = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let response = (!self.broken).then(|| self.inner.call(request));
        GatewayFuture { response }
    }
}

pin_project! {
    /// The response of a [`Gateway`].
    #[derive(Debug)]
    pub struct GatewayFuture<F> {
        #[pin]
        response: Option<F>,
    }
}

impl<F, B, E> Future for GatewayFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<GatewayBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(response) = self.project().response.as_pin_mut() else {
            return Poll::Ready(Ok(UNAVAILABLE.response()));
        };
        Poll::Ready(Ok(match ready!(response.poll(cx)) {
            Ok(response) => response.map(|body| GatewayBody { source: Source::Endpoint { body } }),
            Err(error) => Failure::of(&*error.into()).response(),
        }))
    }
}

/// A response of the gateway's own.
struct Failure {
    status: StatusCode,
    text: &'static str,
    retry_after: Option<Duration>,
}

const UNAVAILABLE: Failure =
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no endpoint available\n");
const BUSY: Failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too much to do\n");
const TOO_MANY: Failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many requests\n");
const TIMEOUT: Failure = Failure::new(StatusCode::GATEWAY_TIMEOUT, "no answer in time\n");
const UNREACHABLE: Failure =
    Failure::new(StatusCode::BAD_GATEWAY, "the endpoint could not be reached\n");

impl Failure {
    const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, retry_after: None }
    }

    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let failure = match Rejected::find(error) {
            Some(&Rejected::Rate { retry_after }) => {
                Self { retry_after: Some(retry_after), ..TOO_MANY }
            }
            Some(_) => BUSY,
            None if is_rejected(error) => UNAVAILABLE,
            None if Outcome::of_error(error) == Outcome::Timeout => TIMEOUT,
            None => UNREACHABLE,
        };
        tracing::warn!(
            error = %EscapedChain(error),
            status = failure.status.as_u16(),
            "request failed"
        );
        failure
    }

    fn response<B>(self) -> Response<GatewayBody<B>> {
        let text = Some(Bytes::from_static(self.text.as_bytes()));
        let mut response = Response::new(GatewayBody { source: Source::Own { text } });
        *response.status_mut() = self.status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        if let Some(retry_after) = self.retry_after {
            let seconds = retry_after.as_secs_f64().ceil() as u64;
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

pin_project! {
    /// The body of a [`Gateway`]'s response: the endpoint's, or a line of the gateway's own.
    #[derive(Debug)]
    pub struct GatewayBody<B> {
        #[pin]
        source: Source<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = SourceProjection]
    enum Source<B> {
        Endpoint { #[pin] body: B },
        Own { text: Option<Bytes> },
    }
}

impl<B> Body for GatewayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().source.project() {
            SourceProjection::Endpoint { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            SourceProjection::Own { text } => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Endpoint { body } => body.is_end_stream(),
            Source::Own { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Endpoint { body } => body.size_hint(),
            Source::Own { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64)
            }
        }
    }
}
