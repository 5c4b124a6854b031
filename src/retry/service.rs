use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{RetryFuture, RetryLayer, RetryPolicy, RetrySafety, RetryableRequest, future::Retries};
use crate::BoxError;

/// Sends a request again after a failed attempt.
///
/// - A request with [`RetrySafety::Never`] passes through unchanged, without a copy.
/// - An attempt that failed before anything was sent is repeated at once at another endpoint, up to
///   five times. It counts neither as an attempt nor against the budget, and need not be
///   idempotent.
/// - Any other failure counts. The number of attempts is limited, and each retry waits for the
///   backoff, or for the time that the endpoint asked for if that is longer.
/// - No retry begins after the deadline of the request's [`Attempts`](crate::outcome::Attempts), or
///   without budget. The budget is charged when the retry is sent: a request that is dropped during
///   the backoff costs nothing.
/// - An [overall](super::RetryBuilder::overall) time limit cancels the attempt in flight.
/// - When no more attempts can be made, the last result goes to the caller, be it a response or an
///   error.
/// - A response that is held between attempts may occupy a permit at its endpoint. With a response,
///   the wait for the service to be ready is therefore limited to the longest backoff. An error
///   occupies nothing: with an error, the wait is as long as that of a new request. The deadline
///   ends both waits.
///
/// The service that was polled ready is the one called. Retries go through a clone of it, which is
/// polled ready first.
#[derive(Debug)]
pub struct Retry<S, P> {
    inner: S,
    layer: RetryLayer<P>,
}

impl<S, P> Retry<S, P> {
    pub(super) fn new(inner: S, layer: RetryLayer<P>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, P> Clone for Retry<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, P, Req> Service<Req> for Retry<S, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RetryFuture<S, P, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let shared = &self.layer.shared;
        shared.budget.deposit();
        let retry_safety = request.retry_safety();
        // Before the copy is made, so that the copy shares the attempts.
        if shared.carries && retry_safety == RetrySafety::Idempotent && request.attempts().is_none()
        {
            request.carry(shared.new_attempts());
        }
        let copy = if retry_safety == RetrySafety::Never { None } else { request.try_clone() };
        let retries = copy
            .map(|copy| Retries::new(copy, retry_safety, self.inner.clone(), Arc::clone(shared)));
        RetryFuture::new(self.inner.call(request), shared.overall, retries)
    }
}
