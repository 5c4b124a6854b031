use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use super::{Bound, TimeoutFuture};
use crate::BoxError;

/// Bounds the time that a connector takes. Put it around the connector of a client, a service of
/// addresses as hyper's and tonic's are.
///
/// A connection that was not made in time is known not to have carried the request: a retry sends it
/// elsewhere at once, whatever it does ([`RetryDecision::Unsent`](crate::retry::RetryDecision::Unsent)).
#[derive(Clone, Debug)]
pub struct ConnectTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services into [`ConnectTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct ConnectTimeoutLayer {
    limit: Duration,
}

impl ConnectTimeoutLayer {
    /// At the most so long.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for ConnectTimeoutLayer {
    type Service = ConnectTimeout<S>;

    fn layer(&self, inner: S) -> ConnectTimeout<S> {
        ConnectTimeout { inner, limit: self.limit }
    }
}

impl<S, Req> Service<Req> for ConnectTimeout<S>
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
        TimeoutFuture::new(self.inner.call(request), Bound::Connect, self.limit, None)
    }
}
