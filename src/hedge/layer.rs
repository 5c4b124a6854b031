use std::sync::Arc;

use tower_layer::Layer;

use super::{Delay, Hedge, delay::DelaySource};
use crate::{ConfigError, retry::Budget};

/// Wraps services into [`Hedge`]. All of them share one budget and one measurement of latencies.
#[derive(Debug)]
pub struct HedgeLayer<P> {
    pub(super) shared: Arc<Shared<P>>,
}

/// Settings and state of all services made by one layer.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) policy: P,
    pub(super) delay: DelaySource,
    pub(super) hedges: u32,
    pub(super) budget: Budget,
}

impl<P> HedgeLayer<P> {
    /// Returns a builder with default settings; `policy` tells successes from failures.
    pub fn builder(policy: P, delay: Delay) -> HedgeBuilder<P> {
        HedgeBuilder { policy, delay, hedges: 1, budget: Budget::default() }
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
        Hedge::new(inner, self.clone())
    }
}

/// Configures a [`HedgeLayer`].
#[derive(Clone, Debug)]
pub struct HedgeBuilder<P> {
    policy: P,
    delay: Delay,
    hedges: u32,
    budget: Budget,
}

impl<P> HedgeBuilder<P> {
    /// Sets the maximum number of hedges per request, each sent after a further delay. Default 1.
    #[must_use]
    pub fn hedges(mut self, hedges: u32) -> Self {
        self.hedges = hedges;
        self
    }

    /// Sets the budget for hedges. Default [`Budget::default`], not shared with other layers.
    ///
    /// Below a [`Retry`](crate::retry::Retry) with the same budget, pass
    /// [`without_deposits`](Budget::without_deposits): otherwise each request deposits twice.
    #[must_use]
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
        let Self { policy, delay, hedges, budget } = self;
        let shared = Shared { policy, delay: delay.into_source(), hedges, budget };
        HedgeLayer { shared: Arc::new(shared) }
    }
}
