use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{AdaptiveThrottleFuture, AdaptiveThrottleLayer};
use crate::{
    BoxError,
    outcome::{Classify, ResultOnly},
    rng::Rng,
};

/// Rejects requests that the endpoints would most likely not accept, so that the endpoints need not
/// reject them.
///
/// The rejected share is (requests - K accepted) / (requests + 1) over the last two minutes, or 0
/// if that is negative: K requests are sent for each accepted one. A request is not accepted if it
/// ends in overload, a timeout or no response. Other failures took the endpoint's work and count as
/// accepted.
///
/// A request counts when it ends or is rejected here. Requests in flight, requests that the caller
/// cancelled and requests that reached no endpoint do not count.
///
/// Source: "Site reliability engineering" (2016), chapter 21, client-side throttling. Where this
/// differs: there, a request counts when it is sent, which rejects a burst after a pause.
#[derive(Debug)]
pub struct AdaptiveThrottle<S, C = ResultOnly> {
    inner: S,
    layer: AdaptiveThrottleLayer<C>,
    rng: Rng,
}

impl<S, C> AdaptiveThrottle<S, C> {
    pub(super) fn new(inner: S, layer: AdaptiveThrottleLayer<C>, rng: Rng) -> Self {
        Self { inner, layer, rng }
    }
}

impl<S: Clone, C> Clone for AdaptiveThrottle<S, C> {
    /// The clone draws its own random numbers.
    fn clone(&self) -> Self {
        self.layer.layer(self.inner.clone())
    }
}

impl<S, C, Req> Service<Req> for AdaptiveThrottle<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AdaptiveThrottleFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let shared = &self.layer.shared;
        let tick = shared.tick();
        let share = shared.rejected_share(tick);
        let is_sent = share == 0.0 || self.rng.unit() >= share;
        if !is_sent {
            shared.record_rejection(tick);
        }
        let response = is_sent.then(|| self.inner.call(request));
        AdaptiveThrottleFuture::new(response, share, Arc::clone(shared))
    }
}
