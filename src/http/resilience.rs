use std::time::Duration;

use tower_layer::Layer;

use super::{Replay, ReplayLayer, RetryOn};
use crate::{
    ConfigError,
    hedge::{Delay, Hedge, HedgeBuilder, HedgeLayer},
    retry::{Backoff, Budget, Retry, RetryBuilder, RetryLayer},
};

/// A balancer, or what else serves HTTP, with what a careful client puts around it; see
/// [`ResilienceLayer`].
pub type Resilient<S> = Replay<Retry<Hedge<S, RetryOn>, RetryOn>>;

/// A service that tries again where that is safe and of use: [`ResilienceLayer::default`] around
/// `service`, mostly a balancer.
///
/// The endpoints' services, and strategies that name their request, get a `Request<ReplayBody<B>>`. The
/// time limit begins with the call: to bound the wait for an endpoint before it, give the balancer a
/// [`fail_fast`](crate::balance::Builder::fail_fast).
pub fn resilient<S>(service: S) -> Resilient<S> {
    ResilienceLayer::default().layer(service)
}

/// Puts the layers of this crate around a balancer of HTTP requests, in the order that makes sense.
///
/// From the outside in:
///
/// 1. [`Replay`] decides what may be sent again, once for all attempts, and keeps one copy of the body
///    for them.
/// 2. [`Retry`] is around the balancer, so that each attempt is a pick of its own, and around the
///    hedges, so that a request is tried again only when all that was under way has failed. It bounds
///    the overall time: what bounds all attempts must be outside of all of them.
/// 3. [`Hedge`] is next to the balancer: of two attempts at the same time, each must be a pick. Off by
///    default, because it helps against stalls and against nothing else.
///
/// Retries and hedges share one [`Budget`], and each request deposits once. Time limits of single
/// attempts belong *below* the balancer ([`timeout`](crate::timeout)), where they are the endpoint's
/// failure; concurrency limits belong outside, where a request that waits holds nothing; and
/// [`Gateway`](super::Gateway) is outermost, so that it turns all errors into responses.
#[derive(Clone, Debug)]
pub struct ResilienceLayer {
    replay: ReplayLayer,
    retry: RetryLayer<RetryOn>,
    hedge: HedgeLayer<RetryOn>,
}

impl ResilienceLayer {
    /// Settings.
    #[must_use]
    pub fn builder() -> ResilienceBuilder {
        ResilienceBuilder {
            replay: ReplayLayer::new(),
            on: RetryOn::http(),
            attempts: 3,
            backoff: Backoff::default(),
            overall: Duration::from_secs(30),
            hedge: Delay::never(),
            budget: Budget::default(),
            seed: None,
        }
    }

    /// What is left of the budget, to look at or to share.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        self.retry.budget()
    }
}

impl Default for ResilienceLayer {
    /// Up to three attempts within 30 s, a budget of 10 %, bodies kept up to 64 KiB, no hedges.
    fn default() -> Self {
        Self::builder().into_parts().assemble()
    }
}

impl<S> Layer<S> for ResilienceLayer {
    type Service = Resilient<S>;

    fn layer(&self, inner: S) -> Resilient<S> {
        self.replay.layer(self.retry.layer(self.hedge.layer(inner)))
    }
}

/// Configures a [`ResilienceLayer`].
#[derive(Clone, Debug)]
pub struct ResilienceBuilder {
    replay: ReplayLayer,
    on: RetryOn,
    attempts: u32,
    backoff: Backoff,
    overall: Duration,
    hedge: Delay,
    budget: Budget,
    seed: Option<u64>,
}

impl ResilienceBuilder {
    /// What may be sent again, and how much of a body is kept. Default [`ReplayLayer::new`].
    #[must_use]
    pub fn replay(mut self, replay: ReplayLayer) -> Self {
        self.replay = replay;
        self
    }

    /// Which responses are worth another attempt. Default [`RetryOn::http`].
    #[must_use]
    pub fn retry_on(mut self, on: RetryOn) -> Self {
        self.on = on;
        self
    }

    /// How often a request is sent at the most, hedges apart. Default 3.
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

    /// How long all attempts may take, up to the beginning of the response. Default 30 s.
    #[must_use]
    pub fn overall(mut self, time: Duration) -> Self {
        self.overall = time;
        self
    }

    /// When a second attempt is sent beside the first. Default [`Delay::never`].
    #[must_use]
    pub fn hedge(mut self, delay: Delay) -> Self {
        self.hedge = delay;
        self
    }

    /// What pays for retries and hedges. Default [`Budget::default`], of this layer alone.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Makes delays repeatable. Default: seeded by the operating system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// For what [`RetryLayer`] and [`HedgeLayer`] reject, and a hedge that would be sent after the overall time.
    pub fn build(self) -> Result<ResilienceLayer, ConfigError> {
        ConfigError::unless(
            self.hedge.known().is_none_or(|delay| delay < self.overall),
            "hedge",
            format_args!("{:?}", self.hedge.known().unwrap_or_default()),
            "a delay below `overall`",
        )?;
        let parts = self.into_parts();
        parts.retry.check()?;
        parts.hedge.check()?;
        Ok(parts.assemble())
    }

    fn into_parts(self) -> Parts {
        let Self { replay, on, attempts, backoff, overall, hedge, budget, seed } = self;
        let carries = !hedge.is_never();
        let hedge = HedgeLayer::builder(on.clone(), hedge).budget(budget.without_deposits());
        let retry = RetryLayer::builder(on).attempts(attempts).backoff(backoff).overall(overall);
        let retry = retry.carries(carries);
        let retry = seed.into_iter().fold(retry.budget(budget), |retry, seed| retry.seed(seed));
        Parts { replay, retry, hedge }
    }
}

/// The layers to be.
struct Parts {
    replay: ReplayLayer,
    retry: RetryBuilder<RetryOn>,
    hedge: HedgeBuilder<RetryOn>,
}

impl Parts {
    fn assemble(self) -> ResilienceLayer {
        let Self { replay, retry, hedge } = self;
        ResilienceLayer { replay, retry: retry.assemble(), hedge: hedge.assemble() }
    }
}
