use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::{LimitKind, LimitStatus, RejectReason, status::Rejections};
use crate::{BoxError, ConfigError, future::polled_after_completion, named::weak_status};

/// Limits how many requests are sent per second, with bursts up to a maximum.
///
/// A request above the limit waits in its response future for at most
/// [`max_wait`](RateLimitLayer::max_wait), or is rejected. A waiting request has reserved its slot,
/// and a request that is dropped while it waits uses the slot up. Unlike tower's `RateLimit` it is
/// `Clone`, and its clones share the rate without a lock.
///
/// Source: the generic cell rate algorithm (ATM Forum, 1996).
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S, Req> Service<Req> for RateLimit<S>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RateLimitFuture<S, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.layer.meter.reserve(self.layer.max_wait) {
            Ok(Duration::ZERO) => State::Calling { response: self.inner.call(request) },
            Ok(wait) => {
                // The service that was polled ready waits with the request; a clone takes its
                // place.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                let waiting = (ready, request, Waiting::new(&self.layer.meter));
                State::Waiting { wait: sleep(wait), waiting: Some(waiting) }
            }
            Err(retry_after) => {
                let rejected =
                    self.layer.meter.rejections.reject(RejectReason::Rate { retry_after });
                State::Rejected { rejected: Some(rejected.into()) }
            }
        };
        RateLimitFuture { state }
    }
}

/// Wraps services into [`RateLimit`]. All of them share one rate.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    meter: Arc<Meter>,
    max_wait: Duration,
}

impl RateLimitLayer {
    /// Allows `rate` requests per second, and up to `burst` at once.
    ///
    /// # Errors
    ///
    /// If `rate` is not above 1e-9 and at most 1e9, or `burst` is 0.
    pub fn new(rate: f64, burst: u32) -> Result<Self, ConfigError> {
        let valid = rate > 1e-9 && rate <= 1e9;
        ConfigError::unless(valid, "rate", rate, "requests per second, above 0 and at most 1e9")?;
        ConfigError::if_zero("burst", burst.into())?;
        Ok(Self { meter: Arc::new(Meter::new(rate, burst)), max_wait: Duration::ZERO })
    }

    /// Names the limit, also for its clones, in its [status](Self::status), in
    /// [`Rejected`](super::Rejected) and in log events. Default "rate_limit".
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.meter.rejections.rename(name.into());
        self
    }

    /// Lets a request wait up to `time` until the rate allows it. Default: requests do not wait,
    /// and are rejected.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// Returns the state and the counters of all services made by this layer and its clones.
    #[must_use]
    pub fn status(&self) -> LimitStatus {
        self.meter.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<LimitStatus> + Send + Sync + use<> {
        weak_status(&self.meter, Meter::status)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: self.clone() }
    }
}

/// The state of the generic cell rate algorithm. All times are in nanoseconds since `created`.
#[derive(Debug)]
struct Meter {
    created: Instant,
    /// When the next request would arrive if all requests were evenly spaced.
    due: AtomicU64,
    /// The time between evenly spaced requests.
    interval: u64,
    /// How much earlier than `due` a request may be sent.
    tolerance: u64,
    /// The setting, in requests per second.
    rate: f64,
    /// How many requests wait until the rate allows them.
    waiting: AtomicU64,
    rejections: Rejections,
}

impl Meter {
    fn new(rate: f64, burst: u32) -> Self {
        let interval = (1e9 / rate) as u64;
        let tolerance = interval.saturating_mul(u64::from(burst - 1));
        Self {
            created: Instant::now(),
            due: AtomicU64::new(0),
            interval,
            tolerance,
            rate,
            waiting: AtomicU64::new(0),
            rejections: Rejections::new("rate_limit"),
        }
    }

    fn status(&self) -> LimitStatus {
        LimitStatus {
            limit: Some(self.rate),
            waiting: self.waiting.load(Ordering::Relaxed),
            ..self.rejections.status(LimitKind::Rate)
        }
    }

    /// Reserves the next slot and returns the time until it. If that is longer than `max_wait`,
    /// reserves nothing and returns the time as the error.
    fn reserve(&self, max_wait: Duration) -> Result<Duration, Duration> {
        let now = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wait = |due: u64| due.saturating_sub(now).saturating_sub(self.tolerance);
        // `due` is the whole state, so a relaxed update cannot be seen out of order with anything.
        let reserved = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let in_time = u128::from(wait(due)) <= max_wait.as_nanos();
            in_time.then(|| due.max(now).saturating_add(self.interval))
        });
        reserved.map(wait).map(Duration::from_nanos).map_err(|due| Duration::from_nanos(wait(due)))
    }
}

/// Counts a request as waiting until it is dropped.
struct Waiting(Arc<Meter>);

impl Waiting {
    fn new(meter: &Arc<Meter>) -> Self {
        meter.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(meter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

const NAME: &str = "RateLimitFuture";

pin_project! {
    /// The response of a [`RateLimit`].
    pub struct RateLimitFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        Calling { #[pin] response: F },
        Waiting { #[pin] wait: Sleep, waiting: Option<(S, Req, Waiting)> },
        Rejected { rejected: Option<BoxError> },
    }
}

impl<S, Req> Future for RateLimitFuture<S, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
                StateProjection::Waiting { wait, waiting } => {
                    ready!(wait.poll(cx));
                    let (mut service, request, waiting) =
                        waiting.take().unwrap_or_else(|| polled_after_completion(NAME));
                    drop(waiting);
                    let response = service.call(request);
                    this.state.set(State::Calling { response });
                }
                StateProjection::Rejected { rejected } => {
                    let rejected = rejected.take().unwrap_or_else(|| polled_after_completion(NAME));
                    return Poll::Ready(Err(rejected));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for RateLimitFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "waiting for the response",
            State::Waiting { .. } => "waiting for the rate limit",
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct(NAME).field("state", &state).finish_non_exhaustive()
    }
}
