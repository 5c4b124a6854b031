use std::{
    convert::Infallible,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::future::Either;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{failure, http_body::Prelude};
use crate::{
    BoxError,
    body_reader::{BodyReader, ReadError},
    escape::EscapedChain,
    http_semantics::{explicit_retry_safety, retry_safety_of_message},
    lambda::{EventFormat, HttpBody, Invocation, Invoked, InvokedStream},
    outcome::{Attempts, Carry},
};

/// A function that serves HTTP: converts requests to events, and responses of the function to HTTP
/// responses.
///
/// The inner service takes invocations: a [`Function`](crate::lambda::Function), a balancer of
/// functions, or layers around one. The [`EventFormat`] is the one that the functions expect.
///
/// Over a [`StreamingFunction`](crate::lambda::StreamingFunction), a response begins when the
/// function has written status and headers, and continues as the function writes, as with a
/// function URL in mode `RESPONSE_STREAM`. Functions must write such responses, as `lambda_http`
/// does with `run_with_streaming_response`: an object with `statusCode` (default 200), `headers`,
/// `multiValueHeaders` and `cookies`, then eight zero bytes, then the body. This is the same for
/// every [`EventFormat`].
///
/// | what happened | status |
/// |---|---|
/// | the function failed, or its response is [invalid](crate::lambda::InvalidResponse) | 502 |
/// | the invocation failed | 502 |
/// | throttled, or not ready | 503, with `Retry-After` |
/// | no function could be picked | 503 |
/// | a rate limit [rejected](crate::limit::Rejected) it | 429, with `Retry-After` |
/// | another limit rejected it | 503, with `Retry-After` |
/// | no answer in time | 504 |
/// | the request is larger than the format allows | 413 |
/// | the request is malformed, or asks for a WebSocket or a tunnel | 400 |
///
/// For throttles, an Application Load Balancer responds with 502; 503 says that a retry may help.
/// The causes are logged as `tracing` events; responses do not reveal them.
///
/// A request with an idempotent method (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) or an
/// `Idempotency-Key` becomes an [`idempotent`](Invocation::idempotent) invocation. A
/// [`RetrySafety`](crate::retry::RetrySafety) in its extensions takes precedence. Retries and
/// hedges therefore belong between this service and the balancer:
///
/// ```
/// use tower::Layer;
/// use tower_lb::{
///     lambda::{AlbEvent, HttpFunction, InvocationStatus},
///     retry::RetryLayer,
/// };
/// # let balancer = ();
///
/// let retry = RetryLayer::builder(InvocationStatus).attempts(3).build()?;
/// let site = HttpFunction::new(retry.layer(balancer), AlbEvent::new("arn:aws:…"));
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct HttpFunction<S, F> {
    inner: S,
    format: Arc<F>,
    /// True once the inner service has failed for good: it must not be called any more.
    broken: bool,
}

impl<S, F: EventFormat> HttpFunction<S, F> {
    /// Creates a service that sends requests to `inner` as events of `format`.
    pub fn new(inner: S, format: F) -> Self {
        Self { inner, format: Arc::new(format), broken: false }
    }
}

impl<S: Clone, F> Clone for HttpFunction<S, F> {
    fn clone(&self) -> Self {
        let format = Arc::clone(&self.format);
        Self { inner: self.inner.clone(), format, broken: self.broken }
    }
}

impl<S, F, B> Service<Request<B>> for HttpFunction<S, F>
where
    S: Service<Invocation, Response: Into<FunctionResponse>> + Clone,
    S::Error: Into<BoxError>,
    F: EventFormat,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<HttpBody>;
    type Error = Infallible;
    type Future = HttpFunctionFuture<S, F, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !self.broken {
            if let Err(error) = ready!(self.inner.poll_ready(cx)) {
                tracing::error!(
                    error = %EscapedChain(&*error.into()),
                    "the inner service failed for good: every request fails from now on"
                );
                self.broken = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Call the instance that is ready, once the body has been read; keep a clone.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let (head, body) = request.into_parts();
        let state = match self.broken {
            true => State::Broken,
            false => State::Reading { head, body, reader: BodyReader::default() },
        };
        HttpFunctionFuture { state, inner, format: Arc::clone(&self.format) }
    }
}

pin_project! {
    /// The response future of [`HttpFunction`].
    pub struct HttpFunctionFuture<S, F, B>
    where
        S: Service<Invocation>,
    {
        #[pin]
        state: State<S::Future, B>,
        inner: S,
        format: Arc<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<Fut, B> {
        Reading { head: request::Parts, #[pin] body: B, reader: BodyReader },
        Invoking { #[pin] future: Fut },
        ReadingPrelude { prelude: Prelude },
        Broken,
    }
}

impl<S, F, B> Future for HttpFunctionFuture<S, F, B>
where
    S: Service<Invocation, Response: Into<FunctionResponse>>,
    S::Error: Into<BoxError>,
    F: EventFormat,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<HttpBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Reading { head, body, reader } => {
                    let limit = this.format.max_body();
                    // Events have no place for trailers.
                    let body = match ready!(reader.poll(body, limit, cx)) {
                        Ok(body) => body,
                        Err(ReadError::TooLarge) => {
                            return Poll::Ready(Ok(failure::too_large(limit)));
                        }
                        Err(ReadError::Body(error)) => {
                            return Poll::Ready(Ok(failure::bad_request(EscapedChain(&*error))));
                        }
                    };
                    let event = match this.format.encode(head, &body) {
                        Ok(event) => event,
                        Err(error) => {
                            return Poll::Ready(Ok(failure::bad_request(error)));
                        }
                    };
                    let mut invocation = Invocation::new(event).with_safety(
                        explicit_retry_safety(head)
                            .unwrap_or_else(|| retry_safety_of_message(head)),
                    );
                    if let Some(attempts) = head.extensions.get::<Attempts>() {
                        invocation.carry(attempts.clone());
                    }
                    let future = this.inner.call(invocation);
                    this.state.set(State::Invoking { future });
                }
                StateProjection::Invoking { future } => {
                    let response = match ready!(future.poll(cx)) {
                        Ok(response) => response.into(),
                        Err(error) => {
                            return Poll::Ready(Ok(failure::of_service(&*error.into())));
                        }
                    };
                    match response.0 {
                        Either::Left(invoked) => {
                            return Poll::Ready(Ok(respond(invoked, &**this.format)));
                        }
                        Either::Right(streamed) => {
                            let prelude = Prelude::of(streamed.into_body());
                            this.state.set(State::ReadingPrelude { prelude });
                        }
                    }
                }
                StateProjection::ReadingPrelude { prelude } => {
                    return prelude.poll(cx).map(Ok);
                }
                StateProjection::Broken => {
                    return Poll::Ready(Ok(failure::of_service(&crate::Error::Closed {
                        balancer: None,
                    })));
                }
            }
        }
    }
}

fn respond(invoked: Invoked, format: &impl EventFormat) -> Response<HttpBody> {
    if let Some(error) = invoked.function_error() {
        return failure::bad_response(error);
    }
    match format.decode(invoked.into_payload()) {
        Ok(response) => response.map(HttpBody::from),
        Err(error) => failure::bad_response(error),
    }
}

/// The response that [`HttpFunction`] accepts from its inner service: an [`Invoked`] or an
/// [`InvokedStream`].
#[derive(Debug)]
pub struct FunctionResponse(Either<Invoked, InvokedStream>);

impl From<Invoked> for FunctionResponse {
    fn from(invoked: Invoked) -> Self {
        Self(Either::Left(invoked))
    }
}

impl From<InvokedStream> for FunctionResponse {
    fn from(streamed: InvokedStream) -> Self {
        Self(Either::Right(streamed))
    }
}

impl<S: Service<Invocation>, F, B> std::fmt::Debug for HttpFunctionFuture<S, F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFunctionFuture").finish_non_exhaustive()
    }
}
