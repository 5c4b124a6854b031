use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{self, Relaxed},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{LimitKind, LimitStatus, RejectReason, is_rejected, status::Rejections};
use crate::{
    BoxError, ConfigError,
    named::weak_status,
    outcome::{Classify, Outcome, ResultOnly},
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
            shared.requests.add(tick);
        }
        let response = is_sent.then(|| self.inner.call(request));
        AdaptiveThrottleFuture { response, share, shared: Arc::clone(shared) }
    }
}

/// Wraps services into [`AdaptiveThrottle`]. All of them count together.
#[derive(Debug)]
pub struct AdaptiveThrottleLayer<C = ResultOnly> {
    shared: Arc<Shared<C>>,
}

/// State of all services made by one layer.
#[derive(Debug)]
struct Shared<C> {
    classify: C,
    k: f64,
    created: Instant,
    requests: RecentCounts,
    accepted: RecentCounts,
    rejections: Rejections,
    seed: AtomicU64,
}

/// How long a request counts.
const WINDOW: Duration = Duration::from_secs(120);

impl<C> AdaptiveThrottleLayer<C> {
    /// Sends up to `k` requests for each one that `classify` counts as accepted; 2 is usual. With a
    /// lower `k` fewer requests are wasted, but it takes longer to notice that more would be
    /// accepted.
    ///
    /// # Errors
    ///
    /// If `k` is not above 1 and at most 100.
    pub fn new(classify: C, k: f64) -> Result<Self, ConfigError> {
        ConfigError::unless(k > 1.0 && k <= 100.0, "k", k, "a number above 1 and at most 100")?;
        let shared = Shared {
            classify,
            k,
            created: Instant::now(),
            requests: RecentCounts::default(),
            accepted: RecentCounts::default(),
            rejections: Rejections::new("adaptive_throttle"),
            seed: AtomicU64::new(Rng::from_entropy().bits()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Names the throttle, also for its clones, in its [status](Self::status), in
    /// [`Rejected`](super::Rejected) and in log events. Default "adaptive_throttle".
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.shared.rejections.rename(name.into());
        self
    }

    /// Seeds the random choices, so that they can be repeated. Default: seeded by the operating
    /// system.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.shared.seed.store(seed, Ordering::Relaxed);
        self
    }

    /// Returns the share of requests that is rejected at this moment.
    #[must_use]
    pub fn rejected_share(&self) -> f64 {
        self.shared.rejected_share(self.shared.tick())
    }

    /// Returns the state and the counters of all services made by this layer.
    #[must_use]
    pub fn status(&self) -> LimitStatus {
        self.shared.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<LimitStatus> + Send + Sync + use<C>
    where
        C: Send + Sync,
    {
        weak_status(&self.shared, Shared::status)
    }
}

impl<C> Shared<C> {
    fn status(&self) -> LimitStatus {
        let rejected_share = Some(self.rejected_share(self.tick()));
        LimitStatus { rejected_share, ..self.rejections.status(LimitKind::AdaptiveThrottle) }
    }

    fn tick(&self) -> u32 {
        let slot = WINDOW / SLOTS as u32;
        (self.created.elapsed().as_nanos() / slot.as_nanos()) as u32
    }

    fn rejected_share(&self, tick: u32) -> f64 {
        let (requests, accepted) = (self.requests.sum(tick) as f64, self.accepted.sum(tick) as f64);
        ((requests - self.k * accepted) / (requests + 1.0)).max(0.0)
    }

    fn record<Rsp>(&self, result: &Result<Rsp, BoxError>)
    where
        C: Classify<Rsp>,
    {
        let outcome = match result {
            Ok(response) => self.classify.classify(Ok(response)),
            // No endpoint has seen the request, so it says nothing about what endpoints accept.
            Err(error) if is_rejected(&**error) => return,
            Err(error) => self.classify.classify(Err(&**error)),
        };
        let tick = self.tick();
        self.requests.add(tick);
        let accepted =
            matches!(outcome, Outcome::Success | Outcome::ApplicationError | Outcome::Cancelled);
        if accepted {
            self.accepted.add(tick);
        }
    }
}

impl<C> Clone for AdaptiveThrottleLayer<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S, C> Layer<S> for AdaptiveThrottleLayer<C> {
    type Service = AdaptiveThrottle<S, C>;

    fn layer(&self, inner: S) -> AdaptiveThrottle<S, C> {
        // Consecutive seeds give each service its own sequence.
        let rng = Rng::seeded(self.shared.seed.fetch_add(1, Ordering::Relaxed));
        AdaptiveThrottle { inner, layer: self.clone(), rng }
    }
}

/// The number of slots of [`RecentCounts`].
const SLOTS: usize = 10;

/// Counts the events of the last ten ticks without a lock. At the change of a tick an event may be
/// lost.
///
/// Each slot holds its tick in the high half and its count in the low half, so that one atomic
/// operation reads or replaces both.
#[derive(Debug, Default)]
struct RecentCounts([AtomicU64; SLOTS]);

const TICK_SHIFT: u32 = 32;

impl RecentCounts {
    fn add(&self, tick: u32) {
        let slot = &self.0[tick as usize % SLOTS];
        let seen = slot.load(Relaxed);
        if (seen >> TICK_SHIFT) as u32 == tick {
            slot.fetch_add(1, Relaxed);
        } else {
            // The first event of a tick replaces the slot. If another thread was first, its slot
            // counts.
            let fresh = u64::from(tick) << TICK_SHIFT | 1;
            if slot.compare_exchange(seen, fresh, Relaxed, Relaxed).is_err() {
                slot.fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns the number of events in `tick` and the nine ticks before it.
    fn sum(&self, tick: u32) -> u64 {
        let recent = |slot: &AtomicU64| {
            let seen = slot.load(Relaxed);
            let age = tick.wrapping_sub((seen >> TICK_SHIFT) as u32);
            if (age as usize) < SLOTS { seen & u64::from(u32::MAX) } else { 0 }
        };
        self.0.iter().map(recent).sum()
    }
}

pin_project! {
    /// The response of an [`AdaptiveThrottle`].
    #[derive(Debug)]
    pub struct AdaptiveThrottleFuture<F, C> {
        // `None` if the request is rejected.
        #[pin]
        response: Option<F>,
        share: f64,
        shared: Arc<Shared<C>>,
    }
}

impl<F, C, Rsp, E> Future for AdaptiveThrottleFuture<F, C>
where
    F: Future<Output = Result<Rsp, E>>,
    E: Into<BoxError>,
    C: Classify<Rsp>,
{
    type Output = Result<Rsp, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(response) = this.response.as_pin_mut() else {
            let reason = RejectReason::Throttled { share: *this.share };
            return Poll::Ready(Err(this.shared.rejections.reject(reason).into()));
        };
        let result = ready!(response.poll(cx)).map_err(Into::into);
        this.shared.record(&result);
        Poll::Ready(result)
    }
}
