use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;

use super::{
    AdaptiveThrottle, is_rejected,
    recent_counts::{RecentCounts, SLOTS},
};
use crate::{
    BoxError, ConfigError,
    outcome::{Classify, Outcome, ResultOnly},
    rng::Rng,
};

/// Wraps services into [`AdaptiveThrottle`]. All of them count together.
#[derive(Debug)]
pub struct AdaptiveThrottleLayer<C = ResultOnly> {
    pub(super) shared: Arc<Shared<C>>,
}

/// State of all services made by one layer.
#[derive(Debug)]
pub(super) struct Shared<C> {
    classify: C,
    k: f64,
    created: Instant,
    requests: RecentCounts,
    accepted: RecentCounts,
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
            seed: AtomicU64::new(Rng::from_entropy().bits()),
        };
        Ok(Self { shared: Arc::new(shared) })
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
}

impl<C> Shared<C> {
    pub(super) fn tick(&self) -> u32 {
        let slot = WINDOW / SLOTS as u32;
        (self.created.elapsed().as_nanos() / slot.as_nanos()) as u32
    }

    pub(super) fn rejected_share(&self, tick: u32) -> f64 {
        let (requests, accepted) = (self.requests.sum(tick) as f64, self.accepted.sum(tick) as f64);
        ((requests - self.k * accepted) / (requests + 1.0)).max(0.0)
    }

    pub(super) fn record_rejection(&self, tick: u32) {
        self.requests.add(tick);
    }

    pub(super) fn record<Rsp>(&self, result: &Result<Rsp, BoxError>)
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
        AdaptiveThrottle::new(inner, self.clone(), rng)
    }
}
