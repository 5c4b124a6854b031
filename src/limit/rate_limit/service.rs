use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{RateLimitFuture, RateLimitLayer, Rejected};
use crate::BoxError;

/// Limits how many requests are sent per second, with bursts up to a maximum.
///
/// A request above the limit waits in its response future for at most
/// [`max_wait`](RateLimitLayer::max_wait), or is rejected. A waiting request has reserved its slot,
/// and a request that is dropped while it waits uses the slot up. Unlike tower's `RateLimit` it is
/// `Clone`, and its clones share the rate without a lock.
///
/// Source: the generic cell rate algorithm (ATM Forum, 1996).
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S> RateLimit<S> {
    pub(super) fn new(inner: S, layer: RateLimitLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S, Req> Service<Req> for RateLimit<S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RateLimitFuture<S, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.layer.meter.reserve(self.layer.max_wait) {
            Ok(Duration::ZERO) => RateLimitFuture::calling(self.inner.call(request)),
            Ok(wait) => {
                // The service that was polled ready waits with the request; a clone takes its
                // place.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                RateLimitFuture::waiting(wait, ready, request)
            }
            Err(retry_after) => RateLimitFuture::rejected(Rejected::Rate { retry_after }),
        }
    }
}
