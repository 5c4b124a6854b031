use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    HedgeFuture, HedgeStatus, future::NextHedge, latencies::Latencies, status::HedgeCounters,
};
use crate::{
    BoxError, ConfigError,
    named::weak_status,
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
/// - An error that the [`RetryPolicy`] calls final, such as one of the caller, is returned at once.
///   If a limit or the balancer rejected the first attempt, the hedges in flight continue.
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
    pub(super) budget: Budget,
    pub(super) delay: DelaySource,
    /// Written only for hedges.
    pub(super) counters: Arc<HedgeCounters>,
}

impl<P> Shared<P> {
    fn status(&self) -> HedgeStatus {
        self.counters.status(Arc::clone(&self.settings.name), self.delay.delay())
    }
}

impl<P> HedgeLayer<P> {
    /// Returns a builder with default settings; `policy` tells final responses and errors from
    /// failures.
    pub fn builder(policy: P, delay: Delay) -> HedgeBuilder<P> {
        HedgeBuilder { name: "hedge".into(), policy, delay, hedges: 1, budget: None }
    }

    /// Returns the counters of all services made by this layer, and the delay at this moment.
    #[must_use]
    pub fn status(&self) -> HedgeStatus {
        self.shared.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<HedgeStatus> + Send + Sync + use<P>
    where
        P: Send + Sync,
    {
        weak_status(&self.shared, Shared::status)
    }

    /// Returns the budget, to be read or shared.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
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
    name: Arc<str>,
    pub(super) policy: P,
    delay: Delay,
    hedges: u32,
    /// `None` for one of the layer's own.
    budget: Option<Budget>,
}

impl<P> HedgeBuilder<P> {
    /// Names the layer in its [status](HedgeLayer::status). Default "hedge".
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the maximum number of hedges per request, each sent after a further delay. Default 1.
    pub fn hedges(mut self, hedges: u32) -> Self {
        self.hedges = hedges;
        self
    }

    /// Sets the budget for hedges. Default [`Budget::default`] with the name of the layer, not
    /// shared with other layers.
    ///
    /// Below a [`Retry`](crate::retry::Retry) with the same budget, pass
    /// [`without_deposits`](Budget::without_deposits): otherwise each request deposits twice.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
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
        let (delay, counters) = (self.delay.into_source(), Arc::default());
        let own_budget = || Budget::builder().name(Arc::clone(&self.name)).assemble();
        let budget = self.budget.clone().unwrap_or_else(own_budget);
        HedgeLayer { shared: Arc::new(Shared { settings: self, budget, delay, counters }) }
    }
}

/// How long an attempt may take before a hedge is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Never,
    Fixed(Duration),
    Quantile(f64),
}

impl Delay {
    /// No request is hedged, and the layer costs nothing.
    #[must_use]
    pub const fn never() -> Self {
        Self { kind: Kind::Never }
    }

    /// A fixed delay.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { kind: Kind::Fixed(delay) }
    }

    /// The time within which this share of the responses begins, at least 1 ms; 0.99 is the 99th
    /// percentile.
    ///
    /// It is computed once a second, to within 13 %, from the successful responses of the last 20
    /// to 40 s to requests that may be hedged. Nothing is hedged before 100 responses.
    #[must_use]
    pub const fn quantile(share: f64) -> Self {
        Self { kind: Kind::Quantile(share) }
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_never(self) -> bool {
        matches!(self.kind, Kind::Never)
    }

    pub(super) fn check(self) -> Result<(), ConfigError> {
        match self.kind {
            Kind::Never => Ok(()),
            Kind::Fixed(delay) => ConfigError::if_zero_time("delay", delay),
            Kind::Quantile(share) => ConfigError::unless(
                share > 0.0 && share < 1.0,
                "delay",
                share,
                "a quantile above 0 and below 1, such as 0.99",
            ),
        }
    }

    /// Returns the delay if it is fixed.
    pub(crate) fn known(self) -> Option<Duration> {
        match self.kind {
            Kind::Fixed(delay) => Some(delay),
            Kind::Never | Kind::Quantile(_) => None,
        }
    }

    pub(super) fn into_source(self) -> DelaySource {
        let latencies = match self.kind {
            Kind::Quantile(share) => Some(Box::new(Latencies::new(share))),
            Kind::Never | Kind::Fixed(_) => None,
        };
        DelaySource { fixed: self.known(), latencies }
    }
}

/// Returns the current delay, and measures it if necessary.
#[derive(Debug)]
pub(super) struct DelaySource {
    fixed: Option<Duration>,
    latencies: Option<Box<Latencies>>,
}

impl DelaySource {
    /// Returns the start of an attempt; `None` if latencies are not measured.
    #[inline]
    pub(super) fn start(&self) -> Option<Instant> {
        self.latencies.as_ref().map(|_| Instant::now())
    }

    /// Returns the delay; `None` if it is not known yet.
    #[inline]
    pub(super) fn delay(&self) -> Option<Duration> {
        self.fixed.or_else(|| self.latencies.as_ref()?.quantile())
    }

    /// Records a successful response, as the latency since `started`.
    #[inline]
    pub(super) fn record(&self, started: Instant) {
        if let Some(latencies) = &self.latencies {
            latencies.record(started, Instant::now());
        }
    }
}
