use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{ConcurrencyLimitFuture, ConcurrencyLimitLayer, Inspect, PermitScope, limiter::Entry};
use crate::{
    BoxError,
    outcome::{Classify, ResultOnly},
};

/// Bounds how many requests are under way: from here to the beginning of their responses, or for as long
/// as [`permit_scope`](super::ConcurrencyLimitBuilder::permit_scope) says, at all endpoints together.
///
/// A request too many waits in its response future, in a bounded queue, for a bounded time and not
/// beyond its deadline; or it is [`Rejected`](super::Rejected) at once. `poll_ready` is that of the
/// service inside and reserves nothing.
///
/// A request that finds room takes no lock and allocates nothing.
#[derive(Debug)]
pub struct ConcurrencyLimit<S, C = ResultOnly, I = (), H = ()> {
    inner: S,
    layer: ConcurrencyLimitLayer<C, I, H>,
}

impl<S, C, I, H> ConcurrencyLimit<S, C, I, H> {
    pub(super) fn new(inner: S, layer: ConcurrencyLimitLayer<C, I, H>) -> Self {
        Self { inner, layer }
    }
}

impl<S: Clone, C, I, H> Clone for ConcurrencyLimit<S, C, I, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, C, I, H, Req> Service<Req> for ConcurrencyLimit<S, C, I, H>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    I: Inspect<Req>,
    H: PermitScope<S::Response>,
{
    type Response = H::Response;
    type Error = BoxError;
    type Future = ConcurrencyLimitFuture<S, C, I, H, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let rules = &self.layer.rules;
        match rules.gate.enter(rules.inspect.priority(&request)) {
            Entry::Inside(permit) => {
                let response = self.inner.call(request);
                ConcurrencyLimitFuture::inside(response, permit, Arc::clone(rules))
            }
            Entry::Rejected(rejected) => {
                ConcurrencyLimitFuture::rejected(rejected, Arc::clone(rules))
            }
            Entry::Outside(ticket) => {
                let now = Instant::now();
                let patience = rules.max_wait.and_then(|time| now.checked_add(time));
                let deadline = rules.inspect.deadline(&request);
                let until = patience.into_iter().chain(deadline).min();
                // The instance that was polled ready waits with the request.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let rules = Arc::clone(rules);
                ConcurrencyLimitFuture::outside(ready, request, ticket, until, rules)
            }
        }
    }
}
