use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{Delay, HedgeFuture, delay::DelaySource, future::NextHedge};
use crate::{
    BoxError, ConfigError,
    outcome::Attempts,
    retry::{Budget, RetryPolicy, RetrySafety, RetryableRequest},
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
        shared.settings.budget.deposit();
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
            let (service, left) = (self.inner.clone(), shared.settings.hedges);
            NextHedge { copy, attempts, service, delay, left }
        });
        let response = self.inner.call(request);
        HedgeFuture::hedged(response, Arc::clone(shared), started, next)
    }
}

/// Wraps services into [`Hedge`]. All of them share one budget and one measurement of latencies.
#[derive(Debug)]
pub struct HedgeLayer<P> {
    pub(super) shared: Arc<Shared<P>>,
}

/// Settings and state of all services made by one layer.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) settings: HedgeBuilder<P>,
    pub(super) delay: DelaySource,
}

impl<P> HedgeLayer<P> {
    /// Returns a builder with default settings; `policy` tells successes from failures.
    pub fn builder(policy: P, delay: Delay) -> HedgeBuilder<P> {
        HedgeBuilder { policy, delay, hedges: 1, budget: Budget::default() }
    }

    /// Returns the budget, to be read or shared.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.settings.budget
    }
}

impl<P> Clone for HedgeLayer<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S, P> Layer<S> for HedgeLayer<P> {
    type Service = Hedge<S, P>;

    fn layer(&self, inner: S) -> Hedge<S, P> {
        Hedge { inner, layer: self.clone() }
    }
}

/// Configures a [`HedgeLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct HedgeBuilder<P> {
    pub(super) policy: P,
    delay: Delay,
    hedges: u32,
    pub(super) budget: Budget,
}

impl<P> HedgeBuilder<P> {
    /// Sets the maximum number of hedges per request, each sent after a further delay. Default 1.
    pub fn hedges(mut self, hedges: u32) -> Self {
        self.hedges = hedges;
        self
    }

    /// Sets the budget for hedges. Default [`Budget::default`], not shared with other layers.
    ///
    /// Below a [`Retry`](crate::retry::Retry) with the same budget, pass
    /// [`without_deposits`](Budget::without_deposits): otherwise each request deposits twice.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// If the delay is 0, its quantile is not between 0 and 1, or `hedges` is not from 1 to 8.
    pub fn build(self) -> Result<HedgeLayer<P>, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.delay.check()?;
        let valid = (1..=8).contains(&self.hedges);
        ConfigError::unless(valid, "hedges", self.hedges, "a number from 1 to 8")
    }

    pub(crate) fn assemble(self) -> HedgeLayer<P> {
        let delay = self.delay.into_source();
        HedgeLayer { shared: Arc::new(Shared { settings: self, delay }) }
    }
}
