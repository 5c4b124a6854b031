use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{Bound, TimeoutFuture};
use crate::{
    BoxError,
    outcome::{Attempts, Carry},
};

/// Bounds the time until the response that is returned begins, all attempts and waits between included.
///
/// The time begins with the call. Waiting for the service to be ready comes before: give a balancer a
/// [`fail_fast`](crate::balance::Builder::fail_fast), so that this is bounded too.
///
/// The deadline travels with the request, in its [`Attempts`]: layers below begin no attempt that could
/// not be in time, and no wait. A deadline that the request has already is kept if it is earlier.
#[derive(Clone, Debug)]
pub struct OverallTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services into [`OverallTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct OverallTimeoutLayer {
    limit: Duration,
}

impl OverallTimeoutLayer {
    /// At the most so long.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for OverallTimeoutLayer {
    type Service = OverallTimeout<S>;

    fn layer(&self, inner: S) -> OverallTimeout<S> {
        OverallTimeout { inner, limit: self.limit }
    }
}

impl<S, Req> Service<Req> for OverallTimeout<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    Req: Carry,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimeoutFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let ours = Instant::now().checked_add(self.limit);
        let deadline = match (request.attempts(), ours) {
            (Some(attempts), Some(ours)) => Some(attempts.limit_to(ours)),
            (Some(attempts), None) => attempts.deadline(),
            (None, None) => None,
            (None, Some(ours)) => {
                request.carry(Attempts::with_deadline(ours));
                Some(ours)
            }
        };
        TimeoutFuture::new(self.inner.call(request), Bound::Overall, self.limit, deadline)
    }
}
