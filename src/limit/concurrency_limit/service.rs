use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Concurrency, ConcurrencyLimitFuture, LimitKind, LimitStatus, Permit, QueueOrder, Rejections,
    concurrency::AdaptiveLimit,
    limiter::{Acquired, Limiter},
};
use crate::{
    BoxError, ConfigError,
    named::weak_status,
    outcome::{Attempts, Carry, Classify, ResultOnly},
};

/// Limits how many requests are in flight at all endpoints together.
///
/// A request is in flight from the call to the beginning of its response, or as long as
/// [`permit_scope`](super::ConcurrencyLimitBuilder::permit_scope) says. A request above the limit
/// waits in its response future, in a bounded queue, for a bounded time and at most until its
/// deadline; or it is [`Rejected`](crate::limit::Rejected) at once. `poll_ready` polls the inner
/// service and reserves nothing.
///
/// A request that gets a permit at once takes no lock and allocates nothing.
#[derive(Debug)]
pub struct ConcurrencyLimit<S, C = ResultOnly, I = (), P = ()> {
    inner: S,
    layer: ConcurrencyLimitLayer<C, I, P>,
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
            Acquired::Rejected(reason) => {
                ConcurrencyLimitFuture::rejected(reason, Arc::clone(shared))
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

/// Wraps services into [`ConcurrencyLimit`]. All of them share one limit.
#[derive(Debug)]
pub struct ConcurrencyLimitLayer<C = ResultOnly, I = (), P = ()> {
    pub(super) shared: Arc<Shared<C, I, P>>,
}

/// State of all services made by one layer.
#[derive(Debug)]
pub(super) struct Shared<C, I, P> {
    pub(super) limiter: Arc<Limiter>,
    pub(super) adaptive: Option<AdaptiveLimit>,
    pub(super) max_wait: Option<Duration>,
    pub(super) classify: C,
    pub(super) inspect: I,
    pub(super) permit_scope: P,
    pub(super) rejections: Rejections,
}

impl<C, I, P> Shared<C, I, P> {
    fn status(&self) -> LimitStatus {
        LimitStatus {
            limit: Some(self.limiter.limit().into()),
            in_flight: Some(self.limiter.in_flight().into()),
            waiting: self.limiter.waiting() as u64,
            admitted: Some(self.limiter.granted()),
            ..self.rejections.status(LimitKind::Concurrency)
        }
    }
}

impl ConcurrencyLimitLayer {
    /// Returns a builder with default settings.
    pub fn builder(concurrency: Concurrency) -> ConcurrencyLimitBuilder {
        let (queue, order, max_wait) = (0, QueueOrder::default(), None);
        let name = "concurrency_limit".into();
        let settings = Settings { name, concurrency, queue, order, max_wait };
        ConcurrencyLimitBuilder { settings, classify: ResultOnly, inspect: (), permit_scope: () }
    }
}

impl<C, I, P> ConcurrencyLimitLayer<C, I, P> {
    /// Returns how many requests may be in flight at this moment.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.limiter.limit()
    }

    /// Returns how many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.limiter.in_flight()
    }

    /// Returns how many requests wait in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.limiter.waiting()
    }

    /// Returns the state and the counters of all services made by this layer.
    #[must_use]
    pub fn status(&self) -> LimitStatus {
        self.shared.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(
        &self,
    ) -> impl Fn() -> Option<LimitStatus> + Send + Sync + use<C, I, P>
    where
        C: Send + Sync,
        I: Send + Sync,
        P: Send + Sync,
    {
        weak_status(&self.shared, Shared::status)
    }
}

impl<C, I, P> Clone for ConcurrencyLimitLayer<C, I, P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S, C, I, P> Layer<S> for ConcurrencyLimitLayer<C, I, P> {
    type Service = ConcurrencyLimit<S, C, I, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit { inner, layer: self.clone() }
    }
}

/// Configures a [`ConcurrencyLimitLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConcurrencyLimitBuilder<C = ResultOnly, I = (), P = ()> {
    settings: Settings,
    classify: C,
    inspect: I,
    permit_scope: P,
}

/// The settings that do not depend on a type parameter.
#[derive(Clone, Debug)]
struct Settings {
    name: Arc<str>,
    concurrency: Concurrency,
    queue: usize,
    order: QueueOrder,
    max_wait: Option<Duration>,
}

impl<C, I, P> ConcurrencyLimitBuilder<C, I, P> {
    /// Names the limit in its [status](ConcurrencyLimitLayer::status), in
    /// [`Rejected`](crate::limit::Rejected) and in log events. Default "concurrency_limit".
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets how many requests may wait in the queue. Default 0: requests above the limit are
    /// rejected at once.
    pub fn queue(mut self, requests: usize) -> Self {
        self.settings.queue = requests;
        self
    }

    /// Sets which waiting request is next. Default [`QueueOrder::Fifo`].
    pub fn order(mut self, order: QueueOrder) -> Self {
        self.settings.order = order;
        self
    }

    /// Sets how long a request may wait in the queue. Default: indefinitely, or until the deadline
    /// that [`inspect`](Self::inspect) finds.
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.settings.max_wait = Some(time);
        self
    }

    /// Sets what an adaptive limit adapts to: outcomes that are overload or a timeout reduce it.
    /// Default [`ResultOnly`]: errors that are timeouts.
    pub fn classify<D>(self, classify: D) -> ConcurrencyLimitBuilder<D, I, P> {
        let Self { settings, inspect, permit_scope, .. } = self;
        ConcurrencyLimitBuilder { settings, classify, inspect, permit_scope }
    }

    /// Sets how to find a request's deadline and priority. Default `()`: all requests are alike.
    pub fn inspect<J>(self, inspect: J) -> ConcurrencyLimitBuilder<C, J, P> {
        let Self { settings, classify, permit_scope, .. } = self;
        ConcurrencyLimitBuilder { settings, classify, inspect, permit_scope }
    }

    /// Sets how long a request keeps its permit. Default `()`: until its response begins.
    pub fn permit_scope<Q>(self, permit_scope: Q) -> ConcurrencyLimitBuilder<C, I, Q> {
        let Self { settings, classify, inspect, .. } = self;
        ConcurrencyLimitBuilder { settings, classify, inspect, permit_scope }
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// If the limit is 0, its minimum is above its maximum, or `max_wait` is set without a `queue`.
    pub fn build(self) -> Result<ConcurrencyLimitLayer<C, I, P>, ConfigError> {
        let Settings { name, concurrency, queue, order, max_wait } = self.settings;
        concurrency.check()?;
        if queue == 0 && max_wait.is_some() {
            return Err(ConfigError::new("max_wait", "`queue` to be set as well"));
        }
        let shared = Shared {
            limiter: Arc::new(Limiter::new(concurrency.initial(), queue, order)),
            adaptive: AdaptiveLimit::new(concurrency),
            max_wait,
            classify: self.classify,
            inspect: self.inspect,
            permit_scope: self.permit_scope,
            rejections: Rejections::new(name),
        };
        Ok(ConcurrencyLimitLayer { shared: Arc::new(shared) })
    }
}

/// Decides how long a request keeps its permit of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
///
/// `()` releases the permit when the response begins. Over HTTP, `http::PermitUntilBodyEnd` keeps
/// it until the end of the body. An adaptive limit measures latency to the beginning of the
/// response in any case.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide how long a response of type `{Response}` keeps its permit",
    note = "pass `()` to `permit_scope` to release the permit when the response begins, or implement `PermitScope<{Response}>`"
)]
pub trait PermitScope<Response> {
    /// The response that the caller gets.
    type Response;

    /// Makes `response` keep `permit` for as long as the request counts as in flight.
    fn keep_permit(&self, response: Response, permit: Permit) -> Self::Response;
}

/// Releases the permit when the response begins.
impl<Response> PermitScope<Response> for () {
    type Response = Response;

    #[inline]
    fn keep_permit(&self, response: Response, _permit: Permit) -> Response {
        response
    }
}

/// Reads from a request what a [`ConcurrencyLimit`](super::ConcurrencyLimit) needs to know.
///
/// `()` gives all requests the same priority and no deadline.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read the priority and deadline of `{Req}`",
    note = "pass `()` or `InspectDeadline` to `inspect`, or implement `Inspect<{Req}>` for `{Self}`"
)]
pub trait Inspect<Req> {
    /// Returns the time after which a response is useless. Default: `None`, which means never.
    fn deadline(&self, request: &Req) -> Option<Instant> {
        let _ = request;
        None
    }

    /// Returns the priority of the request. Default: [`Priority::NORMAL`].
    fn priority(&self, request: &Req) -> Priority {
        let _ = request;
        Priority::NORMAL
    }
}

/// All requests are alike.
impl<Req> Inspect<Req> for () {}

/// Reads the deadline from the request's [`Attempts`], where
/// [`OverallTimeout`](crate::timeout::OverallTimeout) puts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct InspectDeadline;

impl<Req: Carry> Inspect<Req> for InspectDeadline {
    fn deadline(&self, request: &Req) -> Option<Instant> {
        request.attempts().and_then(Attempts::deadline)
    }
}

/// The share of a limit that a request may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Accepts requests up to the limit, and queues them above it.
    pub const NORMAL: Self = Self(100);

    /// Rejects requests, without queueing, once `percent` of the limit is in flight. 100 and more
    /// is [`NORMAL`](Self::NORMAL).
    #[must_use]
    pub const fn up_to(percent: u8) -> Self {
        Self(if percent < 100 { percent } else { 100 })
    }

    /// Returns how much of `limit` the priority may fill, at least 1; `None` for all of it.
    pub(super) fn part_of(self, limit: u32) -> Option<u32> {
        let part = u64::from(limit) * u64::from(self.0) / 100;
        (self < Self::NORMAL).then(|| u32::try_from(part).unwrap_or(u32::MAX).max(1))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}
