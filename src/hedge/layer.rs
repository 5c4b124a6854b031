use std::sync::Arc;

use tower_layer::Layer;

use super::{Delay, Hedge, delay::Clock};
use crate::{InvalidConfig, retry::Budget};

/// Wraps services into [`Hedge`]. All share one budget and one measurement of latencies.
#[derive(Debug)]
pub struct HedgeLayer<J> {
    pub(super) rules: Arc<Rules<J>>,
}

/// What all clones of a [`Hedge`] go by.
#[derive(Debug)]
pub(super) struct Rules<J> {
    pub(super) policy: J,
    pub(super) clock: Clock,
    pub(super) hedges: u32,
    pub(super) budget: Budget,
}

impl<J> HedgeLayer<J> {
    /// Settings; `policy` tells good answers from failures.
    pub fn builder(policy: J, delay: Delay) -> HedgeBuilder<J> {
        HedgeBuilder { policy, delay, hedges: 1, budget: Budget::default() }
    }

    /// The budget, to look at or to share.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.rules.budget
    }
}

impl<J> Clone for HedgeLayer<J> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<S, J> Layer<S> for HedgeLayer<J> {
    type Service = Hedge<S, J>;

    fn layer(&self, inner: S) -> Hedge<S, J> {
        Hedge::new(inner, self.clone())
    }
}

/// Configures a [`HedgeLayer`].
#[derive(Clone, Debug)]
pub struct HedgeBuilder<J> {
    policy: J,
    delay: Delay,
    hedges: u32,
    budget: Budget,
}

impl<J> HedgeBuilder<J> {
    /// How many attempts are sent beside the first, at the most, each after another delay. Default 1.
    #[must_use]
    pub fn hedges(mut self, hedges: u32) -> Self {
        self.hedges = hedges;
        self
    }

    /// What pays for hedges. Default [`Budget::default`], of this layer alone. Below a
    /// [`Retry`](crate::retry::Retry) with the same budget, hand over
    /// [`without_deposits`](Budget::without_deposits), or each request would deposit twice.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// For no hedges, a delay of 0, and a quantile that is not between 0 and 1.
    pub fn build(self) -> Result<HedgeLayer<J>, InvalidConfig> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        self.delay.check()?;
        InvalidConfig::unless(
            (1..=8).contains(&self.hedges),
            "the number of hedges is not between 1 and 8: set it to 1, or have no hedging layer",
        )
    }

    pub(crate) fn assemble(self) -> HedgeLayer<J> {
        let Self { policy, delay, hedges, budget } = self;
        let rules = Rules { policy, clock: delay.into_clock(), hedges, budget };
        HedgeLayer { rules: Arc::new(rules) }
    }
}
