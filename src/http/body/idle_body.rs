use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

use super::PollFrame;
use crate::{
    BoxError,
    future::LazySleep,
    outcome::{Bound, Elapsed},
};

/// Limits the time between one frame of a response body and the next.
///
/// Put it around an endpoint's service, so that a stalled body counts as a failure of the endpoint.
/// The time runs only while a reader waits for the next frame, so a slow reader does not cause a
/// timeout.
#[derive(Clone, Debug)]
pub struct IdleBodyTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services in [`IdleBodyTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct IdleBodyTimeoutLayer {
    limit: Duration,
}

impl IdleBodyTimeoutLayer {
    /// Fails a response body whose next frame takes longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for IdleBodyTimeoutLayer {
    type Service = IdleBodyTimeout<S>;

    fn layer(&self, inner: S) -> IdleBodyTimeout<S> {
        IdleBodyTimeout { inner, limit: self.limit }
    }
}

impl<S, B, R> Service<Request<B>> for IdleBodyTimeout<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<IdleBody<R>>;
    type Error = S::Error;
    type Future = IdleBodyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        IdleBodyFuture { response: self.inner.call(request), limit: self.limit }
    }
}

pin_project! {
    /// The response future of [`IdleBodyTimeout`].
    #[derive(Debug)]
    pub struct IdleBodyFuture<F> {
        #[pin]
        response: F,
        limit: Duration,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for IdleBodyFuture<F> {
    type Output = Result<Response<IdleBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (response, limit) = (ready!(this.response.poll(cx)), *this.limit);
        Poll::Ready(response.map(|response| response.map(|body| IdleBody::new(body, limit))))
    }
}

pin_project! {
    /// The response body of [`IdleBodyTimeout`].
    #[derive(Debug)]
    pub struct IdleBody<B> {
        #[pin]
        body: B,
        #[pin]
        timer: LazySleep,
        // The reader waits for a frame, so the timer runs.
        waiting: bool,
        limit: Duration,
    }
}

impl<B> IdleBody<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, timer: LazySleep::default(), waiting: false, limit }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for IdleBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let wait_begins = !std::mem::replace(this.waiting, true);
        if wait_begins {
            // The timer may still run from an earlier wait. Stopping it makes `poll` start a new
            // one.
            this.timer.as_mut().stop();
        }
        let limit = *this.limit;
        ready!(this.timer.poll(cx, || sleep(limit)));
        Poll::Ready(Some(Err(Elapsed::new(Bound::IdleBody, *this.limit).into())))
    }

    size_of_inner!(body);
}
