use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use super::{Bound, TimeoutFuture};
use crate::BoxError;

/// Bounds the time until a response begins. Put it around an endpoint's service, or around a balancer
/// below a retry layer.
///
/// What tower's `Timeout` does, with an error that says what was bounded, and without a timer for
/// what is ready at once.
#[derive(Clone, Debug)]
pub struct FirstByteTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services into [`FirstByteTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct FirstByteTimeoutLayer {
    limit: Duration,
}

impl FirstByteTimeoutLayer {
    /// At the most so long.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for FirstByteTimeoutLayer {
    type Service = FirstByteTimeout<S>;

    fn layer(&self, inner: S) -> FirstByteTimeout<S> {
        FirstByteTimeout { inner, limit: self.limit }
    }
}

impl<S, Req> Service<Req> for FirstByteTimeout<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimeoutFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        TimeoutFuture::new(self.inner.call(request), Bound::FirstByte, self.limit, None)
    }
}
