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

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, InvalidConfig, escape::EscapedChain, strategy::Rng};

/// Sends a share of the requests to another service: a new version, a new region.
///
/// With a [key](CanaryLayer::sticky_by), a caller is always sent to the same one, and one that is at the
/// canary stays there when the share grows. While the canary is not ready, all go to the stable
/// service; its failures are answers like any other.
#[derive(Debug)]
pub struct Canary<A, B, K = Anyone> {
    stable: A,
    layer: CanaryLayer<B, K>,
    rng: Rng,
    canary: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotReady,
    Ready,
    /// It can never work again.
    Gone,
}

/// Gives services a canary. All go by the same share.
pub struct CanaryLayer<B, K = Anyone> {
    canary: B,
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    /// As the bits of a float.
    share: AtomicU64,
    key: K,
    seed: AtomicU64,
}

/// How to know a caller again.
pub trait Key<Req> {
    /// The same number for the same caller; `None` if there is none to know.
    fn key(&self, request: &Req) -> Option<u64>;
}

/// No caller is known: each request goes its own way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anyone;

/// Callers are known by a function.
#[derive(Clone, Copy, Debug)]
pub struct ByKey<F>(F);

impl<Req> Key<Req> for Anyone {
    fn key(&self, _request: &Req) -> Option<u64> {
        None
    }
}

impl<F: Fn(&Req) -> Option<u64>, Req> Key<Req> for ByKey<F> {
    fn key(&self, request: &Req) -> Option<u64> {
        (self.0)(request)
    }
}

impl<B> CanaryLayer<B> {
    /// Sends `share` of the requests to `canary`: 0.05 for one in twenty.
    ///
    /// # Errors
    ///
    /// If the share is not between 0 and 1.
    pub fn new(canary: B, share: f64) -> Result<Self, InvalidConfig> {
        check(share)?;
        let seed = AtomicU64::new(Rng::from_entropy().bits());
        let share = AtomicU64::new(share.to_bits());
        Ok(Self { canary, shared: Arc::new(Shared { share, key: Anyone, seed }) })
    }

    /// How to know a caller again: by the hash of a user or a session, for example. Any number will do, it is
    /// spread evenly. Default: not.
    #[must_use]
    pub fn sticky_by<F>(self, key: F) -> CanaryLayer<B, ByKey<F>> {
        let share = AtomicU64::new(self.shared.share.load(Ordering::Relaxed));
        let seed = AtomicU64::new(self.shared.seed.load(Ordering::Relaxed));
        CanaryLayer {
            canary: self.canary,
            shared: Arc::new(Shared { share, key: ByKey(key), seed }),
        }
    }
}

impl<B, K> CanaryLayer<B, K> {
    /// Makes the choices repeatable. Default: seeded by the operating system.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.shared.seed.store(seed, Ordering::Relaxed);
        self
    }

    /// The share of requests that goes to the canary.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from_bits(self.shared.share.load(Ordering::Relaxed))
    }

    /// Changes the share, for all services that have the canary, at once.
    ///
    /// # Errors
    ///
    /// If the share is not between 0 and 1; it stays what it was.
    pub fn set_share(&self, share: f64) -> Result<(), InvalidConfig> {
        check(share)?;
        self.shared.share.store(share.to_bits(), Ordering::Relaxed);
        Ok(())
    }
}

fn check(share: f64) -> Result<(), InvalidConfig> {
    InvalidConfig::unless(
        (0.0..=1.0).contains(&share),
        "the canary's share is not between 0 and 1: set the share of requests it gets, 0.05 for 5 %",
    )
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
        let rng = Rng::seeded(self.shared.seed.fetch_add(1, Ordering::Relaxed));
        Canary { stable, layer: self.clone(), rng, canary: State::NotReady }
    }
}

impl<A: Clone, B: Clone, K> Clone for Canary<A, B, K> {
    /// Draws numbers of its own.
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
    K: Key<Req>,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = CanaryFuture<A::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // First, so that no room at the canary is held while the stable service is waited for.
        ready!(self.stable.poll_ready(cx)).map_err(Into::into)?;
        if self.canary == State::NotReady && self.layer.share() > 0.0 {
            match self.layer.canary.poll_ready(cx) {
                Poll::Ready(Ok(())) => self.canary = State::Ready,
                Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!(error = %EscapedChain(&*error.into()), "the canary is gone");
                    self.canary = State::Gone;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let fraction = match self.layer.shared.key.key(&request) {
            Some(key) => Rng::seeded(key).unit(),
            None => self.rng.unit(),
        };
        if self.canary == State::Ready && fraction < self.layer.share() {
            self.canary = State::NotReady;
            let state = Either::Canary { response: self.layer.canary.call(request) };
            return CanaryFuture { state };
        }
        CanaryFuture { state: Either::Stable { response: self.stable.call(request) } }
    }
}

pin_project! {
    /// The response of a [`Canary`].
    #[derive(Debug)]
    pub struct CanaryFuture<A, B> {
        #[pin]
        state: Either<A, B>,
    }
}

pin_project! {
    #[project = EitherProjection]
    #[derive(Debug)]
    enum Either<A, B> {
        Stable { #[pin] response: A },
        Canary { #[pin] response: B },
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
        match self.project().state.project() {
            EitherProjection::Stable { response } => response.poll(cx).map_err(Into::into),
            EitherProjection::Canary { response } => response.poll(cx).map_err(Into::into),
        }
    }
}
