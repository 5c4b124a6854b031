use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    future::LazySleep,
    http::body::PollFrame,
    outcome::{Bound, Elapsed},
};

/// Limits the time from sending an attempt to the end of its response body.
///
/// Put it around an endpoint's service, so that a timeout counts as a failure of the endpoint.
/// Envoy's `per_try_timeout` limits the same time. If the limit is exceeded after the response
/// head, the body fails with the error, because a retry is not possible any more.
///
/// For responses that stream indefinitely, use
/// [`FirstByteTimeout`](crate::timeout::FirstByteTimeout) and
/// [`IdleBodyTimeout`](crate::http::IdleBodyTimeout) instead.
#[derive(Clone, Debug)]
pub struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services in [`AttemptTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeoutLayer {
    limit: Duration,
}

impl AttemptTimeoutLayer {
    /// Fails an attempt that takes longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> AttemptTimeout<S> {
        AttemptTimeout { inner, limit: self.limit }
    }
}

impl<S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>, B, R>
    Service<Request<B>> for AttemptTimeout<S>
{
    type Response = Response<AttemptBody<R>>;
    type Error = BoxError;
    type Future = AttemptTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit;
        // `None` is a limit beyond the range of the clock. `sleep` then waits for a very long time.
        let deadline = Instant::now().checked_add(limit);
        AttemptTimeoutFuture { inner: Timed::new(self.inner.call(request), deadline, limit) }
    }
}

pin_project! {
    /// The response future of [`AttemptTimeout`].
    #[derive(Debug)]
    pub struct AttemptTimeoutFuture<F> {
        #[pin]
        inner: Timed<F>,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E: Into<BoxError>> Future
    for AttemptTimeoutFuture<F>
{
    type Output = Result<Response<AttemptBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut timed = self.project().inner;
        let (deadline, limit) = (timed.deadline, timed.limit);
        let result = match timed.as_mut().project().inner.poll(cx) {
            Poll::Ready(result) => result.map_err(Into::into),
            Poll::Pending => Err(ready!(timed.poll_limit(cx)).into()),
        };
        let body = |body| AttemptBody { inner: Timed::new(body, deadline, limit) };
        Poll::Ready(result.map(|response| response.map(body)))
    }
}

pin_project! {
    /// The response body of [`AttemptTimeout`].
    #[derive(Debug)]
    pub struct AttemptBody<B> {
        #[pin]
        inner: Timed<B>,
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for AttemptBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data> {
        let mut timed = self.project().inner;
        if let Poll::Ready(frame) = timed.as_mut().project().inner.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let elapsed = ready!(timed.poll_limit(cx));
        Poll::Ready(Some(Err(elapsed.into())))
    }

    size_of_inner!(inner.inner);
}

pin_project! {
    /// A future or a body that must end by a deadline. If it is ready at once, no timer is created.
    #[derive(Debug)]
    struct Timed<T> {
        #[pin]
        inner: T,
        #[pin]
        timer: LazySleep,
        deadline: Option<Instant>,
        limit: Duration,
    }
}

impl<T> Timed<T> {
    fn new(inner: T, deadline: Option<Instant>, limit: Duration) -> Self {
        Self { inner, timer: LazySleep::default(), deadline, limit }
    }

    fn poll_limit(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let this = self.project();
        let (deadline, limit) = (*this.deadline, *this.limit);
        ready!(this.timer.poll(cx, || deadline.map_or_else(|| sleep(limit), sleep_until)));
        Poll::Ready(Elapsed::new(Bound::Attempt, *this.limit))
    }
}
