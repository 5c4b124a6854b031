use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Backoff, Budget, RetryFuture, RetryPolicy, RetrySafety, RetryStatus, RetryableRequest,
    future::Retries, status::RetryCounters,
};
use crate::{BoxError, ConfigError, named::weak_status, outcome::Attempts, rng::Rng};

/// Sends a request again after a failed attempt.
///
/// - A request with [`RetrySafety::Never`] passes through unchanged, without a copy.
/// - An attempt that failed before anything was sent is repeated at once at another endpoint, up to
///   five times. It counts neither as an attempt nor against the budget, and need not be
///   idempotent.
/// - Any other failure counts. The number of attempts is limited, and each retry waits for the
///   backoff, or for the time that the endpoint asked for if that is longer.
/// - If every endpoint has been tried and the last one asks for a longer wait than
///   [`max_pushback`](super::RetryBuilder::max_pushback), nothing is retried.
/// - No retry begins after the deadline of the request's [`Attempts`](crate::outcome::Attempts), or
///   without budget. The budget is charged when the retry is sent: a request that is dropped during
///   the backoff costs nothing.
/// - An [overall](super::RetryBuilder::overall) time limit cancels the attempt in flight.
/// - When no more attempts can be made, the last result goes to the caller, be it a response or an
///   error.
/// - A response that is held between attempts may occupy a permit at its endpoint. With a response,
///   the wait for the service to be ready is therefore limited to the longest backoff. An error
///   occupies nothing: with an error, the wait is as long as that of a new request. The deadline
///   ends both waits.
///
/// The service that was polled ready is the one called. Retries go through a clone of it, which is
/// polled ready first.
#[derive(Debug)]
pub struct Retry<S, P> {
    inner: S,
    layer: RetryLayer<P>,
}

impl<S: Clone, P> Clone for Retry<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, P, Req> Service<Req> for Retry<S, P>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RetryFuture<S, P, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let shared = &self.layer.shared;
        shared.budget.deposit();
        let retry_safety = request.retry_safety();
        // Before the copy is made, so that the copy shares the attempts.
        if shared.settings.carries
            && retry_safety == RetrySafety::Idempotent
            && request.attempts().is_none()
        {
            request.carry(shared.new_attempts());
        }
        let copy = if retry_safety == RetrySafety::Never { None } else { request.try_clone() };
        let retries = copy
            .map(|copy| Retries::new(copy, retry_safety, self.inner.clone(), Arc::clone(shared)));
        RetryFuture::new(self.inner.call(request), shared.settings.overall, retries)
    }
}

/// Wraps services into [`Retry`]. All of them share one budget.
#[derive(Debug)]
pub struct RetryLayer<P> {
    pub(super) shared: Arc<Shared<P>>,
}

/// Settings and state of all services made by one layer.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) settings: RetryBuilder<P>,
    pub(super) budget: Budget,
    /// Written only after failures.
    pub(super) counters: Arc<RetryCounters>,
    seed: AtomicU64,
}

impl<P> Shared<P> {
    /// Returns the attempts of a request that begins now.
    pub(super) fn new_attempts(&self) -> Attempts {
        let deadline =
            self.settings.overall.and_then(|overall| Instant::now().checked_add(overall));
        deadline.map_or_else(Attempts::new, Attempts::with_deadline)
    }

    /// Returns the backoff before retry number `retry`.
    pub(super) fn delay(&self, retry: u32, previous: Duration) -> Duration {
        let seed = self.seed.fetch_add(1, Ordering::Relaxed);
        self.settings.backoff.delay(retry, previous, &mut Rng::seeded(seed))
    }
}

impl<P> RetryLayer<P> {
    /// Returns a builder with default settings; `policy` decides what is retried.
    pub fn builder(policy: P) -> RetryBuilder<P> {
        RetryBuilder {
            name: "retry".into(),
            policy,
            attempts: 3,
            backoff: Backoff::default(),
            max_pushback: Duration::from_secs(1),
            overall: None,
            carries: false,
            budget: None,
            seed: None,
        }
    }

    /// Returns the counters of all services made by this layer.
    #[must_use]
    pub fn status(&self) -> RetryStatus {
        self.shared.counters.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<RetryStatus> + Send + Sync + use<P> {
        weak_status(&self.shared.counters, RetryCounters::status)
    }

    /// Returns the budget, to be read or shared.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }
}

impl<P> Clone for RetryLayer<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S, P> Layer<S> for RetryLayer<P> {
    type Service = Retry<S, P>;

    fn layer(&self, inner: S) -> Retry<S, P> {
        Retry { inner, layer: self.clone() }
    }
}

/// Configures a [`RetryLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryBuilder<P> {
    name: Arc<str>,
    pub(super) policy: P,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) max_pushback: Duration,
    overall: Option<Duration>,
    carries: bool,
    /// `None` for one of the layer's own.
    budget: Option<Budget>,
    seed: Option<u64>,
}

impl<P> RetryBuilder<P> {
    /// Names the layer in its [status](RetryLayer::status). Default "retry".
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how often a request is sent at most, including the first attempt. Default 3.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the delay between attempts. Default [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Limits the wait that an endpoint can ask for. If it asks for a longer one, the next attempt
    /// follows after `time`, because it goes to another endpoint. If every endpoint has been tried,
    /// there is no next attempt: the result goes to the caller at once. Default 1 s.
    pub fn max_pushback(mut self, time: Duration) -> Self {
        self.max_pushback = time;
        self
    }

    /// Limits the time of all attempts and the waits between them, up to the beginning of the
    /// response that is returned. Default: unlimited.
    ///
    /// [`OverallTimeout`](crate::timeout::OverallTimeout) does the same, but allocates for each
    /// request.
    pub fn overall(mut self, time: Duration) -> Self {
        self.overall = Some(time);
        self
    }

    /// Makes requests carry their attempts from the first attempt on, as hedges below need it.
    /// Default: from the first failure on, so that a request that succeeds pays nothing for it.
    #[cfg(feature = "http")]
    pub(crate) fn carries(mut self, carries: bool) -> Self {
        self.carries = carries;
        self
    }

    /// Sets the budget for retries. Default [`Budget::default`] with the name of the layer, not
    /// shared with other layers.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Seeds the random delays, so that they can be repeated. Default: seeded by the operating
    /// system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// If `attempts` is 0, the base of the backoff is above its maximum, or the overall time is 0
    /// or too short for any retry.
    pub fn build(self) -> Result<RetryLayer<P>, ConfigError> {
        self.check()?;
        Ok(self.assemble())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero("attempts", self.attempts.into())?;
        self.backoff.check()?;
        let Some(overall) = self.overall else { return Ok(()) };
        ConfigError::if_zero_time("overall", overall)?;
        ConfigError::unless(
            self.attempts == 1 || self.backoff.min_delay() < overall,
            "overall",
            format_args!("{overall:?}"),
            "more than the shortest backoff",
        )
    }

    pub(crate) fn assemble(self) -> RetryLayer<P> {
        let seed = AtomicU64::new(self.seed.unwrap_or_else(|| Rng::from_entropy().bits()));
        let own_budget = || Budget::builder().name(Arc::clone(&self.name)).assemble();
        let budget = self.budget.clone().unwrap_or_else(own_budget);
        let counters = Arc::new(RetryCounters::new(Arc::clone(&self.name)));
        RetryLayer { shared: Arc::new(Shared { settings: self, budget, counters, seed }) }
    }
}
