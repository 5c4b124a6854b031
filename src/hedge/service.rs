use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{HedgeFuture, HedgeLayer, future::Next};
use crate::{
    BoxError,
    outcome::Attempts,
    retry::{RetryPolicy, RetrySafety, RetryableRequest},
};

/// Sends a copy of a request to another endpoint when the first attempt takes too long.
///
/// - Only requests that are [`Idempotent`](RetrySafety::Idempotent) are hedged; others pass through.
/// - The first good answer wins. The other attempts are dropped, which their endpoints' figures count
///   as cancelled, not as failed.
/// - A failure waits for the attempts that are still under way; if all fail, it is the answer. To
///   try again after that is up to a [`Retry`](crate::retry::Retry) above.
/// - A failure that is a response, and so may hold the very room that another attempt waits for, waits
///   for 250 ms, or for as long as a hedge was delayed if that is longer. Then it is the answer.
/// - A hedge takes room at an endpoint, and budget, when it is sent and not before. Without budget no
///   hedge is sent, and what is under way goes on. Where no endpoint is left that has not been
///   tried, none is sent.
///
/// A request that may be hedged is copied up front, and carries its [`Attempts`] from the start,
/// so that the second attempt knows where the first is: some allocations for each such request.
///
/// Source: "The tail at scale" (Dean and Barroso, 2013); Finagle's `BackupRequestFilter`.
#[derive(Debug)]
pub struct Hedge<S, J> {
    inner: S,
    layer: HedgeLayer<J>,
}

impl<S, J> Hedge<S, J> {
    pub(super) fn new(inner: S, layer: HedgeLayer<J>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, J> Clone for Hedge<S, J> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, J, Req> Service<Req> for Hedge<S, J>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HedgeFuture<S, J, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let rules = &self.layer.rules;
        rules.budget.deposit();
        let started = rules.clock.start();
        let delay = rules.clock.delay();
        if request.retry_safety() != RetrySafety::Idempotent
            || (started.is_none() && delay.is_none())
        {
            return HedgeFuture::single(self.inner.call(request));
        }
        let Some(delay) = delay else {
            return HedgeFuture::hedged(self.inner.call(request), Arc::clone(rules), started, None);
        };
        let attempts = request.attempts().cloned().unwrap_or_else(|| {
            let attempts = Attempts::new();
            request.carry(attempts.clone());
            attempts
        });
        let next = request.try_clone().map(|copy| {
            let (service, left) = (self.inner.clone(), rules.hedges);
            Next { copy, attempts, service, delay, left }
        });
        let response = self.inner.call(request);
        HedgeFuture::hedged(response, Arc::clone(rules), started, next)
    }
}
