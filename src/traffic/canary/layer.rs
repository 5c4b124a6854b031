use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tower_layer::Layer;

use super::Canary;
use crate::{ConfigError, rng::Rng};

/// Wraps services into [`Canary`]. All of them use the same share.
pub struct CanaryLayer<B, K = ()> {
    pub(super) canary: B,
    pub(super) shared: Arc<Shared<K>>,
}

/// State of all services made by one layer.
pub(super) struct Shared<K> {
    /// The bits of an `f64`.
    share: AtomicU64,
    pub(super) key: K,
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
    #[must_use]
    pub fn sticky_by<K>(self, key: K) -> CanaryLayer<B, K> {
        let share = AtomicU64::new(self.shared.share.load(Ordering::Relaxed));
        let seed = AtomicU64::new(self.shared.seed.load(Ordering::Relaxed));
        CanaryLayer { canary: self.canary, shared: Arc::new(Shared { share, key, seed }) }
    }
}

impl<B, K> CanaryLayer<B, K> {
    /// Seeds the random choices, so that they can be repeated. Default: seeded by the operating
    /// system.
    #[must_use]
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
        Canary::new(stable, self.clone(), rng)
    }
}
