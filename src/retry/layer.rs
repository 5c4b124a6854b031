use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;

use super::{Backoff, Budget, Retry};
use crate::{InvalidConfig, outcome::Attempts, strategy::Rng};

/// Wraps services into [`Retry`]. All share one budget.
#[derive(Debug)]
pub struct RetryLayer<J> {
    pub(super) rules: Arc<Rules<J>>,
}

/// What all clones of a [`Retry`] go by.
#[derive(Debug)]
pub(super) struct Rules<J> {
    pub(super) policy: J,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) max_pushback: Duration,
    pub(super) overall: Option<Duration>,
    /// Attempts are carried from the first on.
    pub(super) carries: bool,
    pub(super) budget: Budget,
    seed: AtomicU64,
}

impl<J> Rules<J> {
    /// Those of a request that begins now.
    pub(super) fn attempts_until(&self) -> Attempts {
        let deadline = self.overall.and_then(|overall| Instant::now().checked_add(overall));
        deadline.map_or_else(Attempts::new, Attempts::with_deadline)
    }

    /// The delay before the `retry`th retry.
    pub(super) fn delay(&self, retry: u32, previous: Duration) -> Duration {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        self.backoff.delay(retry, previous, &mut Rng::seeded(seed))
    }
}

impl<J> RetryLayer<J> {
    /// Settings; `policy` decides what is worth another attempt.
    pub fn builder(policy: J) -> RetryBuilder<J> {
        RetryBuilder {
            policy,
            attempts: 3,
            backoff: Backoff::default(),
            max_pushback: Duration::from_secs(1),
            overall: None,
            carries: false,
            budget: Budget::default(),
            seed: None,
        }
    }

    /// The budget, to look at or to share.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.rules.budget
    }
}

impl<J> Clone for RetryLayer<J> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<S, J> Layer<S> for RetryLayer<J> {
    type Service = Retry<S, J>;

    fn layer(&self, inner: S) -> Retry<S, J> {
        Retry::new(inner, self.clone())
    }
}

/// Configures a [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct RetryBuilder<J> {
    policy: J,
    attempts: u32,
    backoff: Backoff,
    max_pushback: Duration,
    overall: Option<Duration>,
    carries: bool,
    budget: Budget,
    seed: Option<u64>,
}

impl<J> RetryBuilder<J> {
    /// How often a request is sent at the most, the first time included. Default 3.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How long to wait between attempts. Default [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The longest wait that an endpoint can ask for; if it asks for more, this is waited. Default
    /// 1 s: the next attempt goes to another endpoint, if there is one.
    #[must_use]
    pub fn max_pushback(mut self, time: Duration) -> Self {
        self.max_pushback = time;
        self
    }

    /// How long all attempts and the waits between may take, up to the beginning of the response that is
    /// returned: as [`OverallTimeout`](crate::timeout::OverallTimeout), which needs an allocation
    /// for each request, while this does not. Default: as long as they take.
    #[must_use]
    pub fn overall(mut self, time: Duration) -> Self {
        self.overall = Some(time);
        self
    }

    /// Requests carry their attempts from the first on, as hedges below need it; otherwise from the first
    /// failure on, which costs nothing before.
    #[cfg(feature = "http")]
    pub(crate) fn carries(mut self, carries: bool) -> Self {
        self.carries = carries;
        self
    }

    /// What pays for retries. Default [`Budget::default`], of this layer alone.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Makes the delays repeatable. Default: seeded by the operating system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// For 0 attempts, a backoff whose base is above its maximum, and an overall time of 0 or in which
    /// no retry could be sent.
    pub fn build(self) -> Result<RetryLayer<J>, InvalidConfig> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        InvalidConfig::unless(
            self.attempts > 0,
            "0 attempts: set at least 1, which is to never try again",
        )?;
        self.backoff.check()?;
        InvalidConfig::unless(
            self.overall.is_none_or(|overall| !overall.is_zero()),
            "an overall time of 0 lets nothing through: set how long all attempts may take",
        )?;
        InvalidConfig::unless(
            self.attempts == 1
                || self.overall.is_none_or(|overall| self.backoff.shortest() < overall),
            "the backoff is never over within the overall time: lower its base, or raise the time",
        )
    }

    pub(crate) fn assemble(self) -> RetryLayer<J> {
        let seed = self.seed.unwrap_or_else(|| Rng::from_entropy().bits());
        let Self { policy, attempts, backoff, max_pushback, overall, carries, budget, .. } = self;
        let seed = AtomicU64::new(seed);
        let rules =
            Rules { policy, attempts, backoff, max_pushback, overall, carries, budget, seed };
        RetryLayer { rules: Arc::new(rules) }
    }
}
