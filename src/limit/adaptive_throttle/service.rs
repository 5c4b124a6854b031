use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Rejected,
    counts::{Counts, SLOTS},
    is_turned_away,
};
use crate::{
    BoxError, InvalidConfig,
    outcome::{Classify, Outcome, ResultOnly},
    strategy::Rng,
};

/// Turns requests away that would most likely not be accepted, so that endpoints have not even to
/// reject them.
///
/// The share turned away is (requests - K accepted) / (requests + 1) over the last two minutes, and
/// none while that is negative: K requests are sent for each one accepted. Not accepted is what ends
/// in overload, a timeout or no answer; other failures took the endpoint's work and count as
/// accepted. Requests count when they are answered, or turned away here: what is under way says
/// nothing yet, and what the caller gave up, or what reached no endpoint, never does.
///
/// Source: "Site reliability engineering" (2016), chapter 21, client-side throttling. Where we differ:
/// there, requests count when they are made, which turns a burst after a pause away.
#[derive(Debug)]
pub struct AdaptiveThrottle<S, C = ResultOnly> {
    inner: S,
    layer: AdaptiveThrottleLayer<C>,
    rng: Rng,
}

/// Wraps services into [`AdaptiveThrottle`]. All count together.
#[derive(Debug)]
pub struct AdaptiveThrottleLayer<C = ResultOnly> {
    shared: Arc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C> {
    classify: C,
    k: f64,
    slot: Duration,
    began: Instant,
    requests: Counts,
    accepted: Counts,
    seed: AtomicU64,
}

impl<C> AdaptiveThrottleLayer<C> {
    /// Sends `k` requests for each one that is accepted, as `classify` judges; 2 is usual. The lower,
    /// the fewer requests are wasted, and the later it is noticed that more would be accepted.
    ///
    /// # Errors
    ///
    /// If `k` is not above 1 and up to 100.
    pub fn new(classify: C, k: f64) -> Result<Self, InvalidConfig> {
        InvalidConfig::unless(
            k > 1.0 && k <= 100.0,
            "throttling with a K that is not above 1: set it to 2, or to 1.1 to waste less",
        )?;
        let shared = Shared {
            classify,
            k,
            slot: Duration::from_secs(120) / SLOTS as u32,
            began: Instant::now(),
            requests: Counts::default(),
            accepted: Counts::default(),
            seed: AtomicU64::new(Rng::from_entropy().bits()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes rejections repeatable. Default: seeded by the operating system.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.shared.seed.store(seed, Ordering::Relaxed);
        self
    }

    /// The share of requests that is turned away at this moment.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.shared.share(self.shared.tick())
    }
}

impl<C> Shared<C> {
    fn tick(&self) -> u32 {
        (self.began.elapsed().as_nanos() / self.slot.as_nanos()) as u32
    }

    fn share(&self, tick: u32) -> f64 {
        let (requests, accepted) = (self.requests.sum(tick) as f64, self.accepted.sum(tick) as f64);
        ((requests - self.k * accepted) / (requests + 1.0)).max(0.0)
    }

    fn ended<Rsp>(&self, result: &Result<Rsp, BoxError>)
    where
        C: Classify<Rsp>,
    {
        let outcome = match result {
            Ok(response) => self.classify.classify(Ok(response)),
            Err(error) if is_turned_away(&**error) => return,
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

impl<S: Clone, C> Clone for AdaptiveThrottle<S, C> {
    /// Draws numbers of its own.
    fn clone(&self) -> Self {
        self.layer.layer(self.inner.clone())
    }
}

impl<S, C> Layer<S> for AdaptiveThrottleLayer<C> {
    type Service = AdaptiveThrottle<S, C>;

    fn layer(&self, inner: S) -> AdaptiveThrottle<S, C> {
        let rng = Rng::seeded(self.shared.seed.fetch_add(1, Ordering::Relaxed));
        AdaptiveThrottle { inner, layer: self.clone(), rng }
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
        let share = shared.share(tick);
        let sent = share == 0.0 || self.rng.unit() >= share;
        if !sent {
            shared.requests.add(tick);
        }
        let response = sent.then(|| self.inner.call(request));
        AdaptiveThrottleFuture { response, share, shared: Arc::clone(shared) }
    }
}

pin_project! {
    /// The response of a [`AdaptiveThrottle`].
    #[derive(Debug)]
    pub struct AdaptiveThrottleFuture<F, C> {
        // `None` if the request was turned away.
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
            return Poll::Ready(Err(Rejected::Throttled { share: *this.share }.into()));
        };
        let result = ready!(response.poll(cx)).map_err(Into::into);
        this.shared.ended(&result);
        Poll::Ready(result)
    }
}
