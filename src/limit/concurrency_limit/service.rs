use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    ConcurrencyLimitFuture, ConcurrencyLimitLayer, Inspect, PermitScope, limiter::Acquired,
};
use crate::{
    BoxError,
    outcome::{Classify, ResultOnly},
};

/// Limits how many requests are in flight at all endpoints together.
///
/// A request is in flight from the call to the beginning of its response, or as long as
/// [`permit_scope`](super::ConcurrencyLimitBuilder::permit_scope) says. A request above the limit
/// waits in its response future, in a bounded queue, for a bounded time and at most until its
/// deadline; or it is [`Rejected`](super::Rejected) at once. `poll_ready` polls the inner service
/// and reserves nothing.
///
/// A request that gets a permit at once takes no lock and allocates nothing.
#[derive(Debug)]
pub struct ConcurrencyLimit<S, C = ResultOnly, I = (), P = ()> {
    inner: S,
    layer: ConcurrencyLimitLayer<C, I, P>,
}

impl<S, C, I, P> ConcurrencyLimit<S, C, I, P> {
    pub(super) fn new(inner: S, layer: ConcurrencyLimitLayer<C, I, P>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, C, I, P> Clone for ConcurrencyLimit<S, C, I, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, C, I, P, Req> Service<Req> for ConcurrencyLimit<S, C, I, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    I: Inspect<Req>,
    P: PermitScope<S::Response>,
{
    type Response = P::Response;
    type Error = BoxError;
    type Future = ConcurrencyLimitFuture<S, C, I, P, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let shared = &self.layer.shared;
        match shared.limiter.acquire(shared.inspect.priority(&request)) {
            Acquired::Permit(permit) => {
                let response = self.inner.call(request);
                ConcurrencyLimitFuture::calling(response, permit, Arc::clone(shared))
            }
            Acquired::Rejected(rejected) => {
                ConcurrencyLimitFuture::rejected(rejected, Arc::clone(shared))
            }
            Acquired::Queued(entry) => {
                let now = Instant::now();
                let longest = shared.max_wait.and_then(|time| now.checked_add(time));
                let deadline = shared.inspect.deadline(&request);
                let until = longest.into_iter().chain(deadline).min();
                // The service that was polled ready waits with the request; a clone takes its
                // place.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let shared = Arc::clone(shared);
                ConcurrencyLimitFuture::queued(ready, request, entry, until, shared)
            }
        }
    }
}
