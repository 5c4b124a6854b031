use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{HedgeFuture, HedgeLayer, future::NextHedge};
use crate::{
    BoxError,
    outcome::Attempts,
    retry::{RetryPolicy, RetrySafety, RetryableRequest},
};

/// Sends a copy of a request to another endpoint when the first attempt takes too long.
///
/// - Only requests that are [`Idempotent`](RetrySafety::Idempotent) are hedged; others pass
///   through.
/// - The first success wins. The other attempts are dropped, and their endpoints count them as
///   cancelled, not as failed.
/// - A failure waits for the attempts in flight. If all attempts fail, the first one's result goes
///   to the caller. Trying again after that is the task of a [`Retry`](crate::retry::Retry) above.
/// - A failed response may occupy the permit that another attempt waits for. It therefore waits at
///   most 250 ms, or as long as the hedge was delayed if that is longer, and then goes to the
///   caller.
/// - A hedge uses a permit of an endpoint, and budget, only when it is sent. Without budget no
///   hedge is sent, and the attempts in flight continue. If every endpoint has been tried, no hedge
///   is sent.
///
/// A request that may be hedged is copied in advance and carries its [`Attempts`] from the start,
/// so that the second attempt knows the endpoint of the first. This costs some allocations per
/// request.
///
/// Source: "The tail at scale" (Dean and Barroso, 2013); Finagle's `BackupRequestFilter`.
#[derive(Debug)]
pub struct Hedge<S, P> {
    inner: S,
    layer: HedgeLayer<P>,
}

impl<S, P> Hedge<S, P> {
    pub(super) fn new(inner: S, layer: HedgeLayer<P>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, P> Clone for Hedge<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, P, Req> Service<Req> for Hedge<S, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HedgeFuture<S, P, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let shared = &self.layer.shared;
        shared.budget.deposit();
        let started = shared.delay.start();
        let delay = shared.delay.delay();
        if request.retry_safety() != RetrySafety::Idempotent
            || (started.is_none() && delay.is_none())
        {
            return HedgeFuture::single(self.inner.call(request));
        }
        let Some(delay) = delay else {
            // The quantile is not known yet: the response is only measured.
            let response = self.inner.call(request);
            return HedgeFuture::hedged(response, Arc::clone(shared), started, None);
        };
        // Carried before the copy is made, so that the copy shares them.
        let attempts = request.attempts().cloned().unwrap_or_else(|| {
            let attempts = Attempts::new();
            request.carry(attempts.clone());
            attempts
        });
        let next = request.try_clone().map(|copy| {
            let (service, left) = (self.inner.clone(), shared.hedges);
            NextHedge { copy, attempts, service, delay, left }
        });
        let response = self.inner.call(request);
        HedgeFuture::hedged(response, Arc::clone(shared), started, next)
    }
}
