use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    FailoverFuture, FailoverStatus,
    future::FailoverContext,
    status::{Counters, FailoverReason},
};
use crate::{
    BoxError, ConfigError,
    escape::{Escaped, EscapedChain},
    named::weak_status,
    retry::{DEFAULT_MAX_DELAY, RetryPolicy, RetrySafety, RetryableRequest},
};

/// Sends requests to a primary service, and to a fallback if the primary cannot serve them.
///
/// - Each request is sent to either service at most once. It fails over only if it may be retried,
///   or has not been sent: the primary had no endpoint or no permit for it, or rejected it.
/// - While the primary is not ready, requests wait for it, unless they fail over on
///   [overload](FailoverOn::Overload). To fail over instead, give the primary's balancer a
///   [`fail_fast`](crate::balance::Builder::fail_fast).
/// - Once the primary's `poll_ready` has failed, all requests go to the fallback.
/// - A request that fails over waits for the fallback to be ready for at most
///   [`max_wait`](super::FailoverBuilder::max_wait), and is not sent there after its
///   [deadline](crate::outcome::Attempts::deadline). The primary's result then goes to the caller.
/// - The fallback's result goes to the caller, be it a success or a failure.
#[derive(Debug)]
pub struct Failover<A, B, P> {
    primary: A,
    fallback: B,
    settings: Arc<Settings<P>>,
    state: Arc<PrimaryState>,
    /// The service that was polled ready.
    ready: Target,
    /// Whether the next request of this clone is the probe of the primary.
    is_probing: bool,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Primary,
    /// The fallback, for this reason.
    Fallback(FailoverReason),
}

impl<A, B, P> Failover<A, B, P> {
    pub(super) fn new(
        primary: A,
        fallback: B,
        settings: Arc<Settings<P>>,
        state: Arc<PrimaryState>,
    ) -> Self {
        Self { primary, fallback, settings, state, ready: Target::Primary, is_probing: false }
    }

    /// Returns true if the next request is to try the primary.
    fn tries_primary(&mut self) -> bool {
        if self.state.is_gone() {
            return false;
        }
        // A probe that was assigned in an earlier poll is kept.
        if !self.is_probing {
            match self.state.route() {
                Route::Primary => {}
                Route::Probe => self.is_probing = true,
                Route::Fallback => return false,
            }
        }
        true
    }
}

impl<A: Clone, B: Clone, P> Clone for Failover<A, B, P> {
    fn clone(&self) -> Self {
        let (settings, state) = (Arc::clone(&self.settings), Arc::clone(&self.state));
        Self::new(self.primary.clone(), self.fallback.clone(), settings, state)
    }
}

impl<A, B, P> Drop for Failover<A, B, P> {
    fn drop(&mut self) {
        if self.is_probing {
            self.state.return_probe();
        }
    }
}

impl<A, B, P, Req> Service<Req> for Failover<A, B, P>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response> + Clone,
    B::Error: Into<BoxError>,
    P: RetryPolicy<A::Response>,
    Req: RetryableRequest,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = FailoverFuture<A, B, P, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut primary_is_pending = false;
        let mut reason =
            if self.state.is_gone() { FailoverReason::Gone } else { FailoverReason::Sticky };
        if self.tries_primary() {
            match self.primary.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    self.ready = Target::Primary;
                    return Poll::Ready(Ok(()));
                }
                // A probe does not wait: the request goes to the fallback like all others.
                Poll::Pending if self.settings.on == FailoverOn::Failure && !self.is_probing => {
                    return Poll::Pending;
                }
                Poll::Pending => {
                    primary_is_pending = true;
                    if !self.is_probing {
                        reason = FailoverReason::NotReady;
                    }
                }
                Poll::Ready(Err(error)) => {
                    reason = FailoverReason::Gone;
                    if self.state.set_gone() {
                        tracing::error!(
                            failover = %Escaped(&self.settings.name),
                            error = %EscapedChain(&*error.into()),
                            "the primary service of a failover failed, so all requests go to the fallback",
                        );
                    }
                }
            }
        }
        match ready!(self.fallback.poll_ready(cx)) {
            // The primary has registered the waker and may still become ready.
            Err(_) if primary_is_pending => return Poll::Pending,
            ready => ready.map_err(Into::into)?,
        }
        if std::mem::take(&mut self.is_probing) {
            // The primary was not ready for the probe: another request may try.
            self.state.return_probe();
        }
        self.ready = Target::Fallback(reason);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Target::Fallback(reason) = self.ready {
            self.settings.counters.failovers.count(reason);
            return FailoverFuture::at_fallback(self.fallback.call(request));
        }
        self.is_probing = false;
        let retry_safety = request.retry_safety();
        let copy = if retry_safety == RetrySafety::Never { None } else { request.try_clone() };
        let context = FailoverContext {
            settings: Arc::clone(&self.settings),
            state: Arc::clone(&self.state),
            copy,
            retry_safety,
            fallback: self.fallback.clone(),
        };
        FailoverFuture::at_primary(self.primary.call(request), context)
    }
}

/// When a request fails over from the primary to the fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailoverOn {
    /// When the attempt at the primary has failed, and the request may be retried. The default.
    #[default]
    Failure,
    /// When the primary is overloaded: it is not ready, all of its endpoints have the maximum
    /// number of requests in flight, or a [limit](crate::limit) rejects the request. Other failures
    /// go to the caller.
    Overload,
}

/// Gives services a fallback. Each service has its own state, which its clones share.
#[derive(Debug)]
pub struct FailoverLayer<B, P> {
    fallback: B,
    pub(super) settings: Arc<Settings<P>>,
}

/// What all clones of a [`Failover`] share, besides the state of the primary.
#[derive(Clone, Debug)]
pub(super) struct Settings<P> {
    pub(super) name: Arc<str>,
    pub(super) policy: P,
    pub(super) on: FailoverOn,
    pub(super) max_wait: Duration,
    sticky: Option<(u32, Duration)>,
    /// Replaced when the layer is built, so that layers of one builder count apart.
    pub(super) counters: Arc<Counters>,
}

impl<P> Settings<P> {
    fn status(&self) -> FailoverStatus {
        self.counters.status(&self.name)
    }
}

impl<B, P> FailoverLayer<B, P> {
    /// Returns a builder with default settings; `policy` decides what is a failure of the primary.
    pub fn builder(fallback: B, policy: P) -> FailoverBuilder<B, P> {
        let settings = Settings {
            name: "failover".into(),
            policy,
            on: FailoverOn::default(),
            max_wait: DEFAULT_MAX_DELAY,
            sticky: None,
            counters: Arc::default(),
        };
        FailoverBuilder { fallback, settings }
    }

    /// Returns the counters of all services made by this layer.
    #[must_use]
    pub fn status(&self) -> FailoverStatus {
        self.settings.status()
    }

    /// Returns a function that reads the status until the layer and its services are dropped.
    pub(crate) fn weak_status(
        &self,
    ) -> impl Fn() -> Option<FailoverStatus> + Send + Sync + use<B, P>
    where
        P: Send + Sync,
    {
        weak_status(&self.settings, Settings::status)
    }
}

impl<B: Clone, P> Clone for FailoverLayer<B, P> {
    fn clone(&self) -> Self {
        Self { fallback: self.fallback.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<A, B: Clone, P> Layer<A> for FailoverLayer<B, P> {
    type Service = Failover<A, B, P>;

    fn layer(&self, primary: A) -> Failover<A, B, P> {
        let (failures, probe_every) = self.settings.sticky.unwrap_or_default();
        let state = Arc::new(PrimaryState::new(failures, probe_every));
        Failover::new(primary, self.fallback.clone(), Arc::clone(&self.settings), state)
    }
}

/// Configures a [`FailoverLayer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FailoverBuilder<B, P> {
    fallback: B,
    settings: Settings<P>,
}

impl<B, P> FailoverBuilder<B, P> {
    /// Names the layer in its [status](FailoverLayer::status) and in log events. Default
    /// "failover".
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// Sets when a request fails over. Default [`FailoverOn::Failure`].
    pub fn on(mut self, on: FailoverOn) -> Self {
        self.settings.on = on;
        self
    }

    /// Sets how long a request that fails over waits for the fallback to be ready. After that, the
    /// primary's result goes to the caller, be it a response or an error. The request's
    /// [deadline](crate::outcome::Attempts::deadline) ends the wait as well. Default 250 ms, which
    /// is also how long [`Retry`](crate::retry::Retry) waits by default with a response.
    ///
    /// The wait is bounded because the primary's response may occupy what the fallback waits for,
    /// such as a permit of a concurrency limit around both.
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.settings.max_wait = time;
        self
    }

    /// After `failures` consecutive failures of the primary, sends all requests directly to the
    /// fallback. Once per `probe_every`, one request still tries the primary; when it succeeds, all
    /// requests use the primary again. Default: every request tries the primary.
    pub fn sticky(mut self, failures: u32, probe_every: Duration) -> Self {
        self.settings.sticky = Some((failures, probe_every));
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// If `failures` or `probe_every` of a sticky failover is 0, or it is combined with
    /// [`FailoverOn::Overload`].
    pub fn build(self) -> Result<FailoverLayer<B, P>, ConfigError> {
        let Self { fallback, mut settings } = self;
        settings.counters = Arc::default();
        if let Some((failures, probe_every)) = settings.sticky {
            ConfigError::if_zero("sticky.failures", failures.into())?;
            ConfigError::if_zero_time("sticky.probe_every", probe_every)?;
            if settings.on == FailoverOn::Overload {
                // Overload is brief, and sending all requests elsewhere would hide its end.
                let expected = "`FailoverOn::Failure`, as `sticky` is set";
                return Err(ConfigError::new("on", expected).with_value("`FailoverOn::Overload`"));
            }
        }
        Ok(FailoverLayer { fallback, settings: Arc::new(settings) })
    }
}

/// Where a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Primary,
    /// To the primary, though all other requests go to the fallback.
    Probe,
    Fallback,
}

/// Counts the primary's consecutive failures. After enough of them, routes requests to the fallback
/// until a probe of the primary succeeds.
///
/// Reads no clock while the primary is in use. Accesses are relaxed: each variable is a decision of
/// its own, and a request that sees an old value only goes to the other service.
#[derive(Debug)]
pub(super) struct PrimaryState {
    /// How many failures make the failover sticky; 0 for never.
    max_failures: u32,
    probe_every: Duration,
    created: Instant,
    failures: AtomicU32,
    /// When the primary is probed next, in nanoseconds since `created`; 0 while the primary is in
    /// use.
    probe_at: AtomicU64,
    /// When requests began to go to the fallback, in nanoseconds since `created`.
    switched_at: AtomicU64,
    is_gone: AtomicBool,
}

impl PrimaryState {
    pub(super) fn new(max_failures: u32, probe_every: Duration) -> Self {
        Self {
            max_failures,
            probe_every,
            created: Instant::now(),
            failures: AtomicU32::new(0),
            probe_at: AtomicU64::new(0),
            switched_at: AtomicU64::new(0),
            is_gone: AtomicBool::new(false),
        }
    }

    /// Returns true if the primary's `poll_ready` has failed, so that it must not be used any more.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Stops using the primary. Returns true for the first call.
    pub(super) fn set_gone(&self) -> bool {
        !self.is_gone.swap(true, Relaxed)
    }

    /// Decides where the next request goes. When a probe is due, one request makes it.
    pub(super) fn route(&self) -> Route {
        let probe_at = self.probe_at.load(Relaxed);
        if probe_at == 0 {
            return Route::Primary;
        }
        let age = self.age();
        // Of the requests that see that a probe is due, one moves the time on and makes the probe.
        let is_probe = age >= probe_at
            && self
                .probe_at
                .compare_exchange(probe_at, self.next_probe(age), Relaxed, Relaxed)
                .is_ok();
        if is_probe { Route::Probe } else { Route::Fallback }
    }

    /// Makes the next request the probe, because the current one says nothing about the primary.
    pub(super) fn return_probe(&self) {
        if self.probe_at.load(Relaxed) != 0 {
            self.probe_at.store(self.age().max(1), Relaxed);
        }
    }

    /// Records a success of the primary. Returns how long requests went to the fallback, if that
    /// ends now.
    pub(super) fn record_success(&self) -> Option<Duration> {
        // Reads before it writes, so that successes do not contend for the cache line.
        if self.failures.load(Relaxed) == 0 {
            return None;
        }
        self.failures.store(0, Relaxed);
        let returns = self.probe_at.swap(0, Relaxed) != 0;
        let since = self.switched_at.load(Relaxed);
        returns.then(|| Duration::from_nanos(self.age().saturating_sub(since)))
    }

    /// Records a failure of the primary. Returns the number of consecutive failures if requests go
    /// to the fallback from now on.
    pub(super) fn record_failure(&self) -> Option<u32> {
        if self.max_failures == 0 {
            return None;
        }
        // Not atomic as a whole: of two concurrent failures one may be lost, which delays the
        // failover by one request.
        let failures = self.failures.load(Relaxed).saturating_add(1);
        self.failures.store(failures, Relaxed);
        if failures < self.max_failures {
            return None;
        }
        let age = self.age();
        let switches = self.probe_at.swap(self.next_probe(age), Relaxed) == 0;
        if switches {
            self.switched_at.store(age, Relaxed);
        }
        switches.then_some(failures)
    }

    fn next_probe(&self, age: u64) -> u64 {
        let every = u64::try_from(self.probe_every.as_nanos()).unwrap_or(u64::MAX);
        // 0 would mean that the primary is in use.
        age.saturating_add(every).max(1)
    }

    fn age(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
