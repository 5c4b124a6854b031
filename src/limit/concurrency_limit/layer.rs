use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Concurrency, ConcurrencyLimit, Order, concurrency::Control, limiter::Limiter};
use crate::{InvalidConfig, outcome::ResultOnly};

/// Wraps services into [`ConcurrencyLimit`]. All share one limit.
#[derive(Debug)]
pub struct ConcurrencyLimitLayer<C = ResultOnly, I = (), H = ()> {
    pub(super) rules: Arc<Rules<C, I, H>>,
}

/// What all clones of a [`ConcurrencyLimit`] share.
#[derive(Debug)]
pub(super) struct Rules<C, I, H> {
    pub(super) gate: Arc<Limiter>,
    pub(super) control: Option<Control>,
    pub(super) max_wait: Option<Duration>,
    pub(super) classify: C,
    pub(super) inspect: I,
    pub(super) permit_scope: H,
}

impl ConcurrencyLimitLayer {
    /// Settings.
    #[must_use]
    pub fn builder(concurrency: Concurrency) -> ConcurrencyLimitBuilder {
        ConcurrencyLimitBuilder {
            concurrency,
            queue: 0,
            order: Order::default(),
            max_wait: None,
            classify: ResultOnly,
            inspect: (),
            permit_scope: (),
        }
    }
}

impl<C, I, H> ConcurrencyLimitLayer<C, I, H> {
    /// How many requests may be under way at this moment.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.rules.gate.limit()
    }

    /// How many are.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.rules.gate.inside()
    }

    /// How many wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.rules.gate.outside()
    }
}

impl<C, I, H> Clone for ConcurrencyLimitLayer<C, I, H> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<S, C, I, H> Layer<S> for ConcurrencyLimitLayer<C, I, H> {
    type Service = ConcurrencyLimit<S, C, I, H>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, self.clone())
    }
}

/// Configures a [`ConcurrencyLimitLayer`].
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitBuilder<C = ResultOnly, I = (), H = ()> {
    concurrency: Concurrency,
    queue: usize,
    order: Order,
    max_wait: Option<Duration>,
    classify: C,
    inspect: I,
    permit_scope: H,
}

impl<C, I, H> ConcurrencyLimitBuilder<C, I, H> {
    /// How many requests may wait for their turn. Default 0: those are rejected at once.
    #[must_use]
    pub fn queue(mut self, requests: usize) -> Self {
        self.queue = requests;
        self
    }

    /// Who is next. Default [`Order::FirstInFirstOut`].
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// How long a request waits for its turn at the most. Default: as long as it takes, or until the
    /// deadline that [`inspect`](Self::inspect) finds.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = Some(time);
        self
    }

    /// What an adaptive limit goes by: overload and timeouts lower it. Default
    /// [`ResultOnly`]: errors that are timeouts.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> ConcurrencyLimitBuilder<D, I, H> {
        let Self { concurrency, queue, order, max_wait, inspect, permit_scope, .. } = self;
        ConcurrencyLimitBuilder {
            concurrency,
            queue,
            order,
            max_wait,
            classify,
            inspect,
            permit_scope,
        }
    }

    /// How to find a request's deadline and priority. Default `()`: all are the same.
    #[must_use]
    pub fn inspect<K>(self, inspect: K) -> ConcurrencyLimitBuilder<C, K, H> {
        let Self { concurrency, queue, order, max_wait, classify, permit_scope, .. } = self;
        ConcurrencyLimitBuilder {
            concurrency,
            queue,
            order,
            max_wait,
            classify,
            inspect,
            permit_scope,
        }
    }

    /// How long an answered request keeps its place. Default `()`: until its response begins.
    #[must_use]
    pub fn permit_scope<K>(self, permit_scope: K) -> ConcurrencyLimitBuilder<C, I, K> {
        let Self { concurrency, queue, order, max_wait, classify, inspect, .. } = self;
        ConcurrencyLimitBuilder {
            concurrency,
            queue,
            order,
            max_wait,
            classify,
            inspect,
            permit_scope,
        }
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// For a limit of 0, a least limit above the greatest, and a time to wait without a queue.
    pub fn build(self) -> Result<ConcurrencyLimitLayer<C, I, H>, InvalidConfig> {
        self.concurrency.check()?;
        InvalidConfig::unless(
            self.queue > 0 || self.max_wait.is_none(),
            "max_wait without a queue: set how many requests may wait, or not how long",
        )?;
        let rules = Rules {
            gate: Arc::new(Limiter::new(self.concurrency.initial(), self.queue, self.order)),
            control: self.concurrency.control(),
            max_wait: self.max_wait,
            classify: self.classify,
            inspect: self.inspect,
            permit_scope: self.permit_scope,
        };
        Ok(ConcurrencyLimitLayer { rules: Arc::new(rules) })
    }
}
