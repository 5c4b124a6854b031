use std::{sync::Arc, time::Duration};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{Replay, ReplayBody, ReplayLayer, RetryOn};
use crate::{
    ConfigError,
    hedge::{Delay, Hedge, HedgeBuilder, HedgeLayer},
    retry::{Backoff, Budget, Retry, RetryBuilder, RetryLayer},
};

/// An HTTP service with retries and hedges around it; see [`ResilienceLayer`].
pub type Resilient<S> = Replay<Retry<Hedge<S, RetryOn>, RetryOn>>;

/// Adds retries with the defaults of [`ResilienceLayer`] to `service`, which is usually a balancer.
///
/// The service must take `Request<ReplayBody<B>>` for requests with a body `B`: so must the
/// endpoints' services, and a strategy that names its request type. The overall time limit starts
/// at the call. To limit the wait for an endpoint before the call, set the balancer's
/// [`fail_fast`](crate::balance::Builder::fail_fast).
///
/// If `service` takes requests with any body, as axum's `Router` does, the compiler cannot infer
/// `B`: write `resilient::<_, B>(service)`.
pub fn resilient<S, B>(service: S) -> Resilient<S>
where
    S: TakesReplayBody<B>,
{
    ResilienceLayer::default().layer(service)
}

/// A service of requests whose body can be repeated.
///
/// [`resilient`] asks for it, so that the compiler says what is missing from the service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take `http::Request<ReplayBody<{B}>>`",
    label = "this service cannot get requests whose body may be sent again",
    note = "make the client take `http::Request<ReplayBody<B>>` or a request of any body, as `http::Pool` does; a strategy that names its request type must name this one",
    note = "if the endpoints' targets are addresses, call `.connect(...)` on the stream to make services of them"
)]
#[expect(unnameable_types, reason = "implemented for every such service")]
pub trait TakesReplayBody<B>: Service<Request<ReplayBody<B>>> {}

#[diagnostic::do_not_recommend]
impl<S, B> TakesReplayBody<B> for S where S: Service<Request<ReplayBody<B>>> {}

/// Puts [`Replay`], [`Retry`] and [`Hedge`] around a balancer of HTTP requests, in the order in
/// which they work together.
///
/// From the outside in:
///
/// 1. [`Replay`] decides once for all attempts whether a request may be sent more than once, and
///    keeps one copy of the body for them.
/// 2. [`Retry`] is around the balancer, so that the balancer selects an endpoint for each attempt.
///    It is around the hedges, so that it retries only after all attempts in flight have failed. It
///    limits the overall time, so it must be outside of all attempts.
/// 3. [`Hedge`] is next to the balancer, so that the balancer selects an endpoint for each of two
///    concurrent attempts. Off by default, because it helps only against stalls.
///
/// Retries and hedges share one [`Budget`], and each request deposits once. Time limits of single
/// attempts belong *below* the balancer ([`timeout`](crate::timeout)), where they count as failures
/// of the endpoint. Concurrency limits belong outside, where a waiting request holds no resource.
/// [`Gateway`](super::Gateway) is outermost, so that it turns all errors into responses.
#[derive(Clone, Debug)]
pub struct ResilienceLayer {
    replay: ReplayLayer,
    retry: RetryLayer<RetryOn>,
    hedge: HedgeLayer<RetryOn>,
}

impl ResilienceLayer {
    /// Returns the default settings.
    #[must_use]
    pub fn builder() -> ResilienceBuilder {
        ResilienceBuilder {
            name: "http".into(),
            replay: ReplayLayer::new(),
            on: RetryOn::http(),
            attempts: 3,
            backoff: Backoff::default(),
            overall: Duration::from_secs(30),
            hedge: Delay::never(),
            budget: None,
            seed: None,
        }
    }

    /// Returns the budget of retries and hedges, to inspect or to share it.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        self.retry.budget()
    }

    /// Returns the layer of retries, to inspect it.
    #[must_use]
    pub fn retry(&self) -> &RetryLayer<RetryOn> {
        &self.retry
    }

    /// Returns the layer of hedges, to inspect it.
    #[must_use]
    pub fn hedge(&self) -> &HedgeLayer<RetryOn> {
        &self.hedge
    }
}

impl Default for ResilienceLayer {
    /// At most three attempts within 30 s, a budget of 10 %, bodies replayed up to 64 KiB, no
    /// hedges.
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
    name: Arc<str>,
    replay: ReplayLayer,
    on: RetryOn,
    attempts: u32,
    backoff: Backoff,
    overall: Duration,
    hedge: Delay,
    /// `None` for one of the layer's own.
    budget: Option<Budget>,
    seed: Option<u64>,
}

impl ResilienceBuilder {
    /// Names the layers of retries and hedges, and their budget unless it is set by
    /// [`budget`](Self::budget). Default "http".
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    setters! {
        /// Sets which requests may be sent more than once, and how much of a body is kept. Default
        /// [`ReplayLayer::new`].
        pub fn replay(replay: ReplayLayer) => replay = replay;
        /// Sets which responses are retried. Default [`RetryOn::http`].
        pub fn retry_on(on: RetryOn) => on = on;
        /// Sets the maximum number of attempts, without hedges. Default 3.
        pub fn attempts(attempts: u32) => attempts = attempts;
        /// Sets the delay between attempts. Default [`Backoff::default`].
        pub fn backoff(backoff: Backoff) => backoff = backoff;
        /// Limits the time of all attempts together, up to the response head. Default 30 s.
        pub fn overall(time: Duration) => overall = time;
        /// Sets the delay after which a second attempt starts beside the first. Default
        /// [`Delay::never`].
        pub fn hedge(delay: Delay) => hedge = delay;
        /// Sets the budget of retries and hedges. Default [`Budget::default`], of this layer alone.
        pub fn budget(budget: Budget) => budget = Some(budget);
        /// Makes delays repeatable. Default: seeded by the operating system.
        pub fn seed(seed: u64) => seed = Some(seed);
    }

    /// Returns the layer.
    ///
    /// # Errors
    ///
    /// If [`RetryLayer`] or [`HedgeLayer`] rejects a setting, or if `hedge` is not below `overall`.
    pub fn build(self) -> Result<ResilienceLayer, ConfigError> {
        if let Some(delay) = self.hedge.known().filter(|&delay| delay >= self.overall) {
            let expected = format!("a delay below `overall`, which is {:?}", self.overall);
            return Err(ConfigError::new("hedge", expected).with_value(format!("{delay:?}")));
        }
        let parts = self.into_parts();
        parts.retry.check()?;
        parts.hedge.check()?;
        Ok(parts.assemble())
    }

    fn into_parts(self) -> Parts {
        let Self { name, replay, on, attempts, backoff, overall, hedge, budget, seed } = self;
        let own_budget = || Budget::builder().name(Arc::clone(&name)).assemble();
        let budget = budget.unwrap_or_else(own_budget);
        // A hedge sees the attempts of its request only if the request carries them from the first
        // one on. Without hedges, the request carries them from the first failure on, which is
        // cheaper.
        let carries = !hedge.is_never();
        // The retry layer deposits for each request. A second deposit here would double the budget.
        let hedge = HedgeLayer::builder(on.clone(), hedge).name(Arc::clone(&name));
        let hedge = hedge.budget(budget.without_deposits());
        let retry =
            RetryLayer::builder(on).name(name).attempts(attempts).backoff(backoff).overall(overall);
        let retry = retry.carries(carries);
        let retry = seed.into_iter().fold(retry.budget(budget), |retry, seed| retry.seed(seed));
        Parts { replay, retry, hedge }
    }
}

/// The settings of the three layers.
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
