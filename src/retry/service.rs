use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{RetryFuture, RetryLayer, RetryPolicy, RetrySafety, RetryableRequest, future::Again};
use crate::BoxError;

/// Sends a request again when an attempt has failed.
///
/// - A request that may not be sent again ([`RetrySafety::Never`]) passes through untouched and uncopied.
/// - An attempt that failed before anything was sent is repeated at once at another endpoint. It costs
///   no attempt and no budget, up to five times; for it, requests that are not idempotent do as well.
/// - Any other failure counts: there are so many attempts, each after a backoff or what the endpoint
///   asked for, if longer. None is begun after the deadline of the request's
///   [`Attempts`](crate::outcome::Attempts), and none without budget, which is withdrawn when the
///   attempt is sent: a request that is dropped while it waits has cost nothing.
/// - All that may have an [overall](super::RetryBuilder::overall) time, which cuts off what is under way.
/// - When no more attempts can be made, the last answer is for the caller, be it a response or an
///   error.
/// - With a response in hand, which may hold room at its endpoint, it waits for the service to be ready no
///   longer than the longest backoff. With an error in hand, which holds nothing, it waits as long as a
///   new request would. The deadline ends both waits.
///
/// The service polled ready is the one called; further attempts go through a clone of it, which is
/// polled ready first.
#[derive(Debug)]
pub struct Retry<S, J> {
    inner: S,
    layer: RetryLayer<J>,
}

impl<S, J> Retry<S, J> {
    pub(super) fn new(inner: S, layer: RetryLayer<J>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, J> Clone for Retry<S, J> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, J, Req> Service<Req> for Retry<S, J>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RetryFuture<S, J, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let rules = &self.layer.rules;
        rules.budget.deposit();
        let retry_safety = request.retry_safety();
        if rules.carries && retry_safety == RetrySafety::Idempotent && request.attempts().is_none()
        {
            request.carry(rules.attempts_until());
        }
        let copy = if retry_safety == RetrySafety::Never { None } else { request.try_clone() };
        let again =
            copy.map(|copy| Again::new(copy, retry_safety, self.inner.clone(), Arc::clone(rules)));
        RetryFuture::new(self.inner.call(request), rules.overall, again)
    }
}
