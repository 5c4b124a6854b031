use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::throttles::Memory;
use crate::{
    BoxError,
    lambda::{InvokeError, Throttle, ThrottleReason},
    rng::Rng,
};

/// Wraps services in [`Shed`]; created by [`Throttles::shed`](crate::lambda::Throttles::shed).
#[derive(Clone, Debug)]
pub struct ShedLayer {
    memory: Arc<Memory>,
}

impl ShedLayer {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, memory: Arc::clone(&self.memory) }
    }
}

/// Rejects a share of requests while the rate of this caller is too high for Lambda, so that the
/// service throttles few of the others.
///
/// A rejected request fails with [`InvokeError::Throttled`] for [`ThrottleReason::CallerRate`],
/// like one that the service throttles.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    memory: Arc<Memory>,
}

impl<S, Req> Service<Req> for Shed<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let share = self.memory.shed_share.share(Instant::now);
        // Nearly always 0: no random number is drawn then.
        let passes = share == 0.0 || Rng::from_entropy().unit() >= f64::from(share);
        ShedFuture { response: passes.then(|| self.inner.call(request)) }
    }
}

pin_project! {
    /// The response future of [`Shed`].
    #[derive(Debug)]
    pub struct ShedFuture<F> {
        #[pin]
        response: Option<F>,
    }
}

impl<F, R, E> Future for ShedFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().response.as_pin_mut() {
            Some(response) => response.poll(cx).map_err(Into::into),
            None => {
                let throttle = Throttle::new(ThrottleReason::CallerRate, None);
                Poll::Ready(Err(InvokeError::Throttled(throttle).into()))
            }
        }
    }
}
