use std::{
    convert::Infallible,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    failure::Failure,
    response_prelude::{NoPrelude, Prelude},
};
use crate::{
    BoxError,
    escape::EscapedChain,
    http_semantics::{explicit_retry_safety, retry_safety_by_head},
    lambda::{EventFormat, HttpBody, Invocation, Invoked, InvokedStream},
    outcome::{Attempts, Carry},
    retry::RetrySafety,
};

/// Functions that serve HTTP: turns requests into events, and answers into responses.
///
/// The inner service takes invocations: a [`Function`](crate::lambda::Function), a balancer of functions, or
/// layers around one. The [`EventFormat`] is the one that the functions expect.
///
/// Over a [`StreamingFunction`](crate::lambda::StreamingFunction), responses begin when the function has
/// written status and headers, and go on as it writes: what a function URL does that is set to
/// `RESPONSE_STREAM`. Functions must write such answers, as `lambda_http` does with
/// `run_with_streaming_response`.
///
/// | what happened | status |
/// |---|---|
/// | the function failed, or its answer is [malformed](crate::lambda::InvalidResponse) | 502 |
/// | the invocation failed | 502 |
/// | throttled, or not ready | 503, with `Retry-After` |
/// | no function could be picked | 503 |
/// | a rate limit [rejected](crate::limit::Rejected) it | 429, with `Retry-After` |
/// | another limit rejected it | 503, with `Retry-After` |
/// | no answer in time | 504 |
/// | the request is larger than the format allows | 413 |
/// | the request is broken, or wants a WebSocket | 400 |
///
/// An Application Load Balancer answers 502 to throttles as well; 503 says that another attempt
/// may help. Reasons are told as `tracing` events; responses do not give them away.
///
/// Requests with a method that is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE), with an
/// `Idempotency-Key` become invocations that are [`idempotent`](Invocation::idempotent); a [`RetrySafety`] in
/// their extensions goes before that. So retries and hedges go between this and the balancer:
///
/// ```
/// use tower::Layer;
/// use tower_lb::{
///     lambda::{AlbEvent, Http, InvocationStatus},
///     retry::RetryLayer,
/// };
/// # let balancer = ();
///
/// let retry = RetryLayer::builder(InvocationStatus).attempts(3).build()?;
/// let site = Http::new(retry.layer(balancer), AlbEvent::new("arn:aws:…"));
/// # Ok::<_, tower_lb::InvalidConfig>(())
/// ```
#[derive(Debug)]
pub struct Http<S, F> {
    inner: S,
    format: Arc<F>,
    /// The inner service can never work again and must not be called.
    broken: bool,
}

impl<S, F: EventFormat> Http<S, F> {
    /// Sends requests to `inner` as events of this format.
    pub fn new(inner: S, format: F) -> Self {
        Self { inner, format: Arc::new(format), broken: false }
    }
}

impl<S: Clone, F> Clone for Http<S, F> {
    fn clone(&self) -> Self {
        let format = Arc::clone(&self.format);
        Self { inner: self.inner.clone(), format, broken: self.broken }
    }
}

impl<S, F, B> Service<Request<B>> for Http<S, F>
where
    S: Service<Invocation, Response: Into<HttpResponse>> + Clone,
    S::Error: Into<BoxError>,
    F: EventFormat,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<HttpBody>;
    type Error = Infallible;
    type Future = HttpFuture<S, F, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !self.broken {
            if let Err(error) = ready!(self.inner.poll_ready(cx)) {
                tracing::error!(error = %EscapedChain(&*error.into()), "no function will be reached any more");
                self.broken = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The instance that is ready is the one to call, once the body is there.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let (head, body) = request.into_parts();
        let state = match self.broken {
            true => State::Broken,
            false => State::Reading { head, body, read: Read::default() },
        };
        HttpFuture { state, inner, format: Arc::clone(&self.format) }
    }
}

pin_project! {
    /// The response of an [`Http`].
    pub struct HttpFuture<S, F, B>
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
        Reading { head: request::Parts, #[pin] body: B, read: Read },
        Invoking { #[pin] future: Fut },
        Beginning { prelude: Prelude },
        Broken,
    }
}

fn retry_safety(head: &request::Parts) -> RetrySafety {
    explicit_retry_safety(head).unwrap_or_else(|| retry_safety_by_head(head))
}

/// What has been read of a body. Small pieces are put together, so that many of them are few.
#[derive(Default)]
struct Read {
    pieces: Vec<Bytes>,
    /// Behind the pieces.
    small: BytesMut,
    bytes: usize,
}

/// A piece of so many bytes is kept as it came.
const LARGE: usize = 1024;

impl Read {
    /// Reads all of a body, if it is no larger than that.
    fn poll<B: Body>(
        &mut self,
        mut body: Pin<&mut B>,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Trouble<B::Error>>> {
        if body.size_hint().lower() > limit as u64 {
            return Poll::Ready(Err(Trouble::TooLarge));
        }
        while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(Trouble::Body)?;
            // Trailers have no place in an event.
            let Ok(mut data) = frame.into_data() else { continue };
            let len = data.remaining();
            self.bytes += len;
            if self.bytes > limit {
                return Poll::Ready(Err(Trouble::TooLarge));
            }
            if len < LARGE {
                self.small.put(data);
            } else {
                self.flush();
                self.pieces.push(data.copy_to_bytes(len));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    fn pieces(&mut self) -> &[Bytes] {
        self.flush();
        &self.pieces
    }
}

enum Trouble<E> {
    TooLarge,
    Body(E),
}

impl<S, F, B> Future for HttpFuture<S, F, B>
where
    S: Service<Invocation, Response: Into<HttpResponse>>,
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
                StateProjection::Reading { head, body, read } => {
                    let limit = this.format.max_body();
                    if let Err(trouble) = ready!(read.poll(body, limit, cx)) {
                        return Poll::Ready(Ok(match trouble {
                            Trouble::TooLarge => Failure::TooLarge(limit).response(),
                            Trouble::Body(error) => Failure::Body(&*error.into()).response(),
                        }));
                    }
                    let event = match this.format.encode(head, read.pieces()) {
                        Ok(event) => event,
                        Err(error) => {
                            return Poll::Ready(Ok(Failure::UnsupportedRequest(error).response()));
                        }
                    };
                    let mut invocation = Invocation::new(event).with_safety(retry_safety(head));
                    if let Some(attempts) = head.extensions.get::<Attempts>() {
                        invocation.carry(attempts.clone());
                    }
                    let future = this.inner.call(invocation);
                    this.state.set(State::Invoking { future });
                }
                StateProjection::Invoking { future } => {
                    let answer = match ready!(future.poll(cx)) {
                        Ok(answer) => answer.into(),
                        Err(error) => {
                            return Poll::Ready(Ok(Failure::Service(&*error.into()).response()));
                        }
                    };
                    match answer.0 {
                        Answer::Whole(invoked) => {
                            return Poll::Ready(Ok(respond(invoked, &**this.format)));
                        }
                        Answer::Streamed(streamed) => {
                            let prelude = Prelude::of(streamed.into_body());
                            this.state.set(State::Beginning { prelude });
                        }
                    }
                }
                StateProjection::Beginning { prelude } => {
                    let response = ready!(prelude.poll(&**this.format, cx));
                    return Poll::Ready(Ok(response.unwrap_or_else(|missing| match missing {
                        NoPrelude::Invocation(error) => Failure::Service(&error).response(),
                        NoPrelude::Malformed(error) => Failure::Malformed(error).response(),
                    })));
                }
                StateProjection::Broken => {
                    return Poll::Ready(Ok(Failure::Service(&crate::Error::Closed).response()));
                }
            }
        }
    }
}

fn respond(invoked: Invoked, format: &impl EventFormat) -> Response<HttpBody> {
    if let Some(error) = invoked.function_error() {
        return Failure::Function(error).response();
    }
    match format.decode(invoked.into_payload()) {
        Ok(response) => response.map(HttpBody::from),
        Err(error) => Failure::Malformed(error).response(),
    }
}

/// What [`Http`] makes a response of: an [`Invoked`] or an [`InvokedStream`].
#[derive(Debug)]
pub struct HttpResponse(Answer);

#[derive(Debug)]
enum Answer {
    Whole(Invoked),
    Streamed(InvokedStream),
}

impl From<Invoked> for HttpResponse {
    fn from(invoked: Invoked) -> Self {
        Self(Answer::Whole(invoked))
    }
}

impl From<InvokedStream> for HttpResponse {
    fn from(streamed: InvokedStream) -> Self {
        Self(Answer::Streamed(streamed))
    }
}

impl<S: Service<Invocation>, F, B> std::fmt::Debug for HttpFuture<S, F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn small_pieces_of_a_body_are_put_together() {
        let large = vec![b'l'; LARGE];
        let pieces = (0..10_000).map(|n| match n {
            5000 => Bytes::from(large.clone()),
            n if n % 2 == 0 => Bytes::new(),
            _ => Bytes::from_static(b"s"),
        });
        let sent: Vec<Bytes> = pieces.collect();
        let frames = sent.iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece.clone())));
        let mut body = StreamBody::new(stream::iter(frames));
        let mut read = Read::default();
        let done =
            std::future::poll_fn(|cx| read.poll(Pin::new(&mut body), 1 << 20, cx)).await.is_ok();
        assert!(done);
        assert_eq!(read.pieces().len(), 3);
        assert_eq!(read.pieces().concat(), sent.concat());
    }
}
