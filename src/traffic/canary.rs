use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::future::Either;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, ConfigError, escape::EscapedChain, rng::Rng};

/// Sends a share of the requests to another service: a new version, a new region.
///
/// With a [key](CanaryLayer::sticky_by), requests with the same key go to the same service, and
/// those that go to the canary stay there when the share grows. While the canary is not ready, all
/// requests go to the stable service. A failure of the canary is returned to the caller like any
/// response.
#[derive(Debug)]
pub struct Canary<A, B, K = ()> {
    stable: A,
    layer: CanaryLayer<B, K>,
    rng: Rng,
    canary: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotReady,
    Ready,
    /// `poll_ready` failed, so that the canary must not be used any more.
    Failed,
}

impl<A: Clone, B: Clone, K> Clone for Canary<A, B, K> {
    /// The clone draws its own random numbers.
    fn clone(&self) -> Self {
        self.layer.layer(self.stable.clone())
    }
}

impl<A, B, K, Req> Service<Req> for Canary<A, B, K>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response>,
    B::Error: Into<BoxError>,
    K: StickyKey<Req>,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = CanaryFuture<A::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The stable service comes first: otherwise a permit of the canary would be held while the
        // stable service is not ready.
        ready!(self.stable.poll_ready(cx)).map_err(Into::into)?;
        if self.canary == State::NotReady && self.layer.share() > 0.0 {
            match self.layer.canary.poll_ready(cx) {
                Poll::Ready(Ok(())) => self.canary = State::Ready,
                Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!(
                        error = %EscapedChain(&*error.into()),
                        "the canary service failed, so all requests go to the stable service",
                    );
                    self.canary = State::Failed;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // A key always gives the same fraction. It is compared with the share, so a larger share
        // only adds keys to the canary.
        let fraction = match self.layer.shared.key.key(&request) {
            Some(key) => Rng::seeded(key).unit(),
            None => self.rng.unit(),
        };
        if self.canary == State::Ready && fraction < self.layer.share() {
            self.canary = State::NotReady;
            let response = Either::Right(self.layer.canary.call(request));
            return CanaryFuture { response };
        }
        CanaryFuture { response: Either::Left(self.stable.call(request)) }
    }
}

/// Finds the key by which requests stay with the same service.
///
/// Closures `Fn(&Req) -> Option<u64>` implement it. `()` finds no key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not find a sticky key in `{Req}`",
    note = "pass a closure `|request: &{Req}| -> Option<u64>` to `sticky_by`, or implement `StickyKey<{Req}>`"
)]
pub trait StickyKey<Req> {
    /// Returns the same number for all requests that belong together, or `None` if `request` has no
    /// key.
    fn key(&self, request: &Req) -> Option<u64>;
}

/// No request has a key: each is sent independently of the others.
impl<Req> StickyKey<Req> for () {
    fn key(&self, _request: &Req) -> Option<u64> {
        None
    }
}

impl<F: Fn(&Req) -> Option<u64>, Req> StickyKey<Req> for F {
    fn key(&self, request: &Req) -> Option<u64> {
        self(request)
    }
}

/// Wraps services into [`Canary`]. All of them use the same share.
#[must_use]
pub struct CanaryLayer<B, K = ()> {
    canary: B,
    shared: Arc<Shared<K>>,
}

/// State of all services made by one layer.
struct Shared<K> {
    /// The bits of an `f64`.
    share: AtomicU64,
    key: K,
    seed: AtomicU64,
}

impl<B> CanaryLayer<B> {
    /// Sends `share` of the requests to `canary`: 0.05 for one in twenty.
    ///
    /// # Errors
    ///
    /// If `share` is not from 0 to 1.
    pub fn new(canary: B, share: f64) -> Result<Self, ConfigError> {
        check(share)?;
        let seed = AtomicU64::new(Rng::from_entropy().bits());
        let share = AtomicU64::new(share.to_bits());
        Ok(Self { canary, shared: Arc::new(Shared { share, key: (), seed }) })
    }

    /// Keeps requests with the same key at the same service. A key is the hash of a user or a
    /// session, for example; any numbers will do, as they are hashed again. Default: requests have
    /// no key.
    pub fn sticky_by<K>(self, key: K) -> CanaryLayer<B, K> {
        let share = AtomicU64::new(self.shared.share.load(Ordering::Relaxed));
        let seed = AtomicU64::new(self.shared.seed.load(Ordering::Relaxed));
        CanaryLayer { canary: self.canary, shared: Arc::new(Shared { share, key, seed }) }
    }
}

impl<B, K> CanaryLayer<B, K> {
    /// Seeds the random choices, so that they can be repeated. Default: seeded by the operating
    /// system.
    pub fn seed(self, seed: u64) -> Self {
        self.shared.seed.store(seed, Ordering::Relaxed);
        self
    }

    /// Returns the share of requests that go to the canary.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from_bits(self.shared.share.load(Ordering::Relaxed))
    }

    /// Changes the share, at once and for all services made by this layer and its clones.
    ///
    /// # Errors
    ///
    /// If `share` is not from 0 to 1. The share is then unchanged.
    pub fn set_share(&self, share: f64) -> Result<(), ConfigError> {
        check(share)?;
        self.shared.share.store(share.to_bits(), Ordering::Relaxed);
        Ok(())
    }
}

fn check(share: f64) -> Result<(), ConfigError> {
    ConfigError::unless_within("share", share, [0.0, 1.0])
}

impl<B: Clone, K> Clone for CanaryLayer<B, K> {
    fn clone(&self) -> Self {
        Self { canary: self.canary.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<B, K> fmt::Debug for CanaryLayer<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanaryLayer").field("share", &self.share()).finish_non_exhaustive()
    }
}

impl<A, B: Clone, K> Layer<A> for CanaryLayer<B, K> {
    type Service = Canary<A, B, K>;

    fn layer(&self, stable: A) -> Canary<A, B, K> {
        // Consecutive seeds give each service its own sequence.
        let rng = Rng::seeded(self.shared.seed.fetch_add(1, Ordering::Relaxed));
        Canary { stable, layer: self.clone(), rng, canary: State::NotReady }
    }
}

pin_project! {
    /// The response of a [`Canary`].
    #[derive(Debug)]
    pub struct CanaryFuture<A, B> {
        #[pin]
        response: Either<A, B>,
    }
}

impl<A, B, Rsp, E, F> Future for CanaryFuture<A, B>
where
    A: Future<Output = Result<Rsp, E>>,
    B: Future<Output = Result<Rsp, F>>,
    E: Into<BoxError>,
    F: Into<BoxError>,
{
    type Output = Result<Rsp, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().response.as_pin_mut() {
            Either::Left(stable) => stable.poll(cx).map_err(Into::into),
            Either::Right(canary) => canary.poll(cx).map_err(Into::into),
        }
    }
}
