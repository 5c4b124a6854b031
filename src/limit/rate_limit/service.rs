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

use super::Rejected;
use crate::{BoxError, InvalidConfig, future::polled_after_completion};

/// Bounds how many requests are sent in a time: `rate` a second, and up to `burst` at once.
///
/// One too many waits in its response future, as long as it may, or is rejected at once. Its place is
/// reserved while it waits; one that is dropped has used it up. Other than tower's `RateLimit` it is
/// `Clone`, and its clones share the rate without a lock.
///
/// Source: the generic cell rate algorithm (ATM Forum, 1996).
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

/// Wraps services into [`RateLimit`]. All share one rate.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    meter: Arc<Meter>,
    max_wait: Duration,
}

/// Ages since `began`, in nanoseconds.
#[derive(Debug)]
struct Meter {
    began: Instant,
    /// When the next request would be due if all came evenly.
    due: AtomicU64,
    interval: u64,
    /// How much earlier it may come.
    tolerance: u64,
}

impl RateLimitLayer {
    /// So many requests a second, and so many at once; no one waits.
    ///
    /// # Errors
    ///
    /// For a rate that is not above 0 or above a billion, and a burst of 0.
    pub fn new(rate: f64, burst: u32) -> Result<Self, InvalidConfig> {
        InvalidConfig::unless(
            rate > 1e-9 && rate <= 1e9,
            "the rate limit is not above 0 and up to a billion: set how many requests a second there may be",
        )?;
        InvalidConfig::unless(
            burst > 0,
            "a rate limit with a burst of 0 lets nothing through: set it to at least 1",
        )?;
        let interval = (1e9 / rate) as u64;
        let tolerance = interval.saturating_mul(u64::from(burst - 1));
        let meter = Meter { began: Instant::now(), due: AtomicU64::new(0), interval, tolerance };
        Ok(Self { meter: Arc::new(meter), max_wait: Duration::ZERO })
    }

    /// How long a request may wait for its turn. Default: it does not, and is rejected.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }
}

impl Meter {
    /// How long the request has to wait; or else, if that is too long, how long it would have had to.
    fn reserve(&self, max_wait: Duration) -> Result<Duration, Duration> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wait = |due: u64| due.saturating_sub(now).saturating_sub(self.tolerance);
        let reserved = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let in_time = u128::from(wait(due)) <= max_wait.as_nanos();
            in_time.then(|| due.max(now).saturating_add(self.interval))
        });
        reserved.map(wait).map(Duration::from_nanos).map_err(|due| Duration::from_nanos(wait(due)))
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: self.clone() }
    }
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
            Ok(Duration::ZERO) => State::Sent { response: self.inner.call(request) },
            Ok(wait) => {
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                State::Waiting { wait: sleep(wait), waiting: Some((ready, request)) }
            }
            Err(retry_after) => {
                let rejected = Rejected::Rate { retry_after };
                State::Rejected { rejected: Some(rejected) }
            }
        };
        RateLimitFuture { state }
    }
}

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
        Sent { #[pin] response: F },
        Waiting { #[pin] wait: Sleep, waiting: Option<(S, Req)> },
        Rejected { rejected: Option<Rejected> },
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
                StateProjection::Sent { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
                StateProjection::Waiting { wait, waiting } => {
                    ready!(wait.poll(cx));
                    let waiting = waiting.take();
                    let (mut service, request) =
                        waiting.unwrap_or_else(|| polled_after_completion("RateLimitFuture"));
                    let response = service.call(request);
                    this.state.set(State::Sent { response });
                }
                StateProjection::Rejected { rejected } => {
                    let rejected = rejected.take();
                    let rejected =
                        rejected.unwrap_or_else(|| polled_after_completion("RateLimitFuture"));
                    return Poll::Ready(Err(rejected.into()));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for RateLimitFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sent { .. } => "waiting for the response",
            State::Waiting { .. } => "waiting for its turn",
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct("RateLimitFuture").field("state", &state).finish_non_exhaustive()
    }
}
