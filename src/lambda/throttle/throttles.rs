use std::{
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Poll, ready},
    time::Duration,
};

use futures::stream::{Stream, poll_fn};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    pauses::{Domain, Pauses},
    shed::ShedShare,
    status::{ThrottleCounters, ThrottlesStatus},
};
use crate::{
    endpoint::Attributes,
    escape::Escaped,
    lambda::{InvokeError, ShedLayer, Throttle},
    named::{SharedName, weak_status},
    outcome::{Attempt, Attempts, Follow, Meter, Track},
    strategy::{BuildContext, Built, Candidate, Candidates, Registration, Strategy, Wakers},
    sync::{Mutex, lock},
};

/// Remembers throttles, and keeps requests away from where they would be throttled again.
///
/// The reaction depends on the [scope](crate::lambda::ThrottleScope) of a throttle:
///
/// - **A function's own limit**: all endpoints of the function (its aliases and versions, in that
///   region) are left out of the pick for 100 ms.
/// - **The account's limit in a region**: all endpoints of the account and region are left out for
///   1 s.
/// - **The caller's rate**: no endpoint would help. A share of requests is shed before they are
///   sent, so that few of the others are throttled; [`shed`](Self::shed) does that.
///
/// A pause is longer if the service asks for it. It doubles each time that it did not help, up to a
/// minute. Leaving out endpoints is a preference: if none would be left, all stay.
///
/// The function and the account of an endpoint are read from its name, if that is a
/// [`FunctionName`](crate::lambda::FunctionName). The region is that of the endpoint's
/// [`Locality`](crate::endpoint::Locality), or else of its ARN.
///
/// The three parts go to three places. Clones share their memory, and several balancers may use
/// one.
///
/// ```
/// use tower::{Service, ServiceBuilder};
/// use tower_lb::{
///     balance::Builder,
///     lambda::{Throttles, UntilResponse},
///     strategy::P2c,
/// };
/// # use tower_lb::{discover, lambda::{Function, FunctionName, Invocation, Invoked}};
/// # let invoke = |_: &FunctionName, _: Invocation| std::future::ready(Ok(Invoked::new(200, "")));
/// # let functions = discover::list([("f", Function::new(invoke, "f".parse()?).into())]);
///
/// let throttles = Throttles::new();
/// let (balancer, driver) = Builder::lambda()
///     .track(throttles.track(UntilResponse))
///     .build(throttles.avoid_throttled(P2c::default()), functions)?;
/// let service = ServiceBuilder::new().layer(throttles.shed()).service(balancer);
/// # fn is_service<S: Service<Invocation>>(_: S) {}
/// # is_service(service);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Throttles {
    memory: Arc<Memory>,
}

#[derive(Debug)]
pub(super) struct Memory {
    name: SharedName,
    throttled: ThrottleCounters,
    /// Requests that were shed.
    pub(super) shed: AtomicU64,
    /// Locked for each throttle, and by drivers; never by a pick.
    watched: Mutex<Watched>,
    drivers: Wakers,
    pub(super) shed_share: ShedShare,
}

#[derive(Debug, Default)]
struct Watched {
    pauses: Pauses,
    /// The number of pauses so far.
    version: u64,
}

/// The pauses at one moment.
#[derive(Debug)]
pub(super) struct Paused {
    pub(super) domains: Vec<Domain>,
    /// The number of pauses so far.
    pub(super) version: u64,
    /// When the next pause ends.
    pub(super) next_end: Option<Instant>,
}

const FUNCTION_PAUSE: Duration = Duration::from_millis(100);
const REGION_PAUSE: Duration = Duration::from_secs(1);

impl Throttles {
    /// Nothing is known to be throttled.
    #[must_use]
    pub fn new() -> Self {
        let memory = Memory {
            name: SharedName::new("throttles"),
            throttled: ThrottleCounters::default(),
            shed: AtomicU64::new(0),
            watched: Mutex::default(),
            drivers: Wakers::default(),
            shed_share: ShedShare::new(),
        };
        Self { memory: Arc::new(memory) }
    }

    /// Sets the name, also for clones, in the [status](Self::status) and in log events. Default
    /// "throttles".
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.memory.name.set(name.into());
        self
    }

    /// Returns the state and the counters, over all balancers that use this memory.
    #[must_use]
    pub fn status(&self) -> ThrottlesStatus {
        self.memory.status()
    }

    /// Returns a function that reads the status until all parts are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<ThrottlesStatus> + Send + Sync + use<> {
        weak_status(&self.memory, Memory::status)
    }

    /// Returns a tracker that records throttles and otherwise behaves like `tracker`.
    pub fn track<T>(&self, tracker: T) -> TrackThrottles<T> {
        TrackThrottles { inner: tracker, memory: Arc::clone(&self.memory) }
    }

    /// Returns a strategy that lets `strategy` pick among the endpoints that are not throttled.
    pub fn avoid_throttled<St>(&self, strategy: St) -> AvoidThrottled<St> {
        AvoidThrottled { inner: strategy, memory: Arc::clone(&self.memory) }
    }

    /// Returns a layer that sheds requests while the caller's rate is too high. It belongs in front
    /// of the balancer.
    #[must_use]
    pub fn shed(&self) -> ShedLayer {
        ShedLayer { memory: Arc::clone(&self.memory) }
    }
}

impl Default for Throttles {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    fn status(&self) -> ThrottlesStatus {
        let paused = self.paused();
        ThrottlesStatus {
            name: self.name.get(),
            throttled: self.throttled.read(),
            paused: paused.domains.len() as u64,
            pauses: paused.version,
            shed: self.shed.load(Relaxed),
            shed_share: self.shed_share.share(Instant::now).into(),
        }
    }

    /// Records the error of an attempt at an endpoint, if it is a throttle.
    pub(super) fn learn(
        &self,
        error: &(dyn std::error::Error + 'static),
        name: &str,
        attributes: &Attributes,
    ) {
        if let Some(InvokeError::Throttled(throttle)) = InvokeError::find(error) {
            self.throttled.count(throttle.scope().into());
            match Domain::of(name, attributes, throttle.scope()) {
                None => self.shed_share.record_throttle(Instant::now()),
                Some(domain) => self.pause(domain, throttle),
            }
        }
    }

    fn pause(&self, domain: Domain, throttle: &Throttle) {
        let shortest = if domain.is_region() { REGION_PAUSE } else { FUNCTION_PAUSE };
        let name = domain.to_string();
        let mut watched = lock(&self.watched);
        let (asked, now) = (throttle.retry_after(), Instant::now());
        if let Some(pause) = watched.pauses.pause(domain, shortest, asked, now) {
            watched.version += 1;
            // Drivers take the lock when they wake.
            drop(watched);
            self.drivers.wake();
            tracing::info!(
                throttles = %Escaped(self.name.get()),
                domain = name,
                reason = %throttle.reason(),
                ?pause,
                "left out throttled endpoints"
            );
        }
    }

    /// Registers a driver to be woken by each new pause.
    pub(super) fn registration(&self) -> Registration {
        self.drivers.registration()
    }

    /// Returns the number of pauses so far.
    pub(super) fn version(&self) -> u64 {
        lock(&self.watched).version
    }

    /// Returns the present pauses.
    pub(super) fn paused(&self) -> Paused {
        let (watched, now) = (lock(&self.watched), Instant::now());
        Paused {
            domains: watched.pauses.active(now).cloned().collect(),
            version: watched.version,
            next_end: watched.pauses.next_end(now),
        }
    }
}

/// Records throttles for [`Throttles`](crate::lambda::Throttles), and tracks by another tracker.
#[derive(Clone, Debug)]
pub struct TrackThrottles<T> {
    inner: T,
    memory: Arc<Memory>,
}

impl<T, Response> Track<Response> for TrackThrottles<T>
where
    T: Track<Response>,
{
    type Response = T::Response;

    fn response(&self, response: Response, attempt: Attempt) -> T::Response {
        self.inner.response(response, attempt)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        let endpoint = attempt.endpoint_state();
        self.memory.learn(error, &endpoint.name, &endpoint.attributes);
        self.inner.error(error, attempt);
    }
}

impl<T: Follow<Req>, Req> Follow<Req> for TrackThrottles<T> {
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        self.inner.attempts(request)
    }
}

/// Lets another strategy pick among the endpoints that are not throttled; created by
/// [`Throttles::avoid_throttled`](crate::lambda::Throttles::avoid_throttled).
///
/// The work happens in the driver: a pick costs no more than the inner strategy's.
///
/// Endpoints that are left out count as missing in strategies that count endpoints, such as
/// [`Tiers`](crate::strategy::Tiers). A [`Panic`](crate::strategy::Panic) inside may select them
/// again; it belongs around this strategy instead.
#[derive(Clone, Debug)]
pub struct AvoidThrottled<St> {
    pub(super) inner: St,
    pub(super) memory: Arc<Memory>,
}

impl Memory {
    /// Returns a stream that yields once the pauses differ from `paused`.
    fn changes(self: &Arc<Self>, paused: &Paused) -> impl Stream<Item = ()> + Send + use<> {
        let (memory, registration) = (Arc::clone(self), self.registration());
        let (seen, next_end) = (paused.version, paused.next_end);
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |cx| {
            // Before the check: a pause that starts in between must wake this task.
            registration.register(cx.waker());
            if memory.version() != seen {
                return Poll::Ready(Some(()));
            }
            let Some(end) = next_end else { return Poll::Pending };
            // Created here, since a picker may be built outside of a runtime.
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(timer.as_mut().poll(cx));
            Poll::Ready(Some(()))
        })
    }
}

impl<St: Strategy> Strategy for AvoidThrottled<St> {
    type Picker = St::Picker;

    fn build(&mut self, candidates: &Candidates, context: &mut BuildContext) -> Built<St::Picker> {
        let paused = self.memory.paused();
        context.rebuild_on(self.memory.changes(&paused));
        let (regions, functions): (Vec<_>, Vec<_>) =
            paused.domains.into_iter().partition(Domain::is_region);
        let notice = |domain| format!("left out because of throttles: {domain}");
        let notices: Vec<_> = regions.iter().chain(&functions).map(notice).collect();
        let left = without(&functions, without(&regions, candidates.clone()));
        self.inner.build(&left, context).with_notices(notices)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.inner.meter()
    }
}

/// Returns the candidates outside of the domains. Returns all if the balancer would have none left.
fn without(domains: &[Domain], candidates: Candidates) -> Candidates {
    if domains.is_empty() {
        return candidates;
    }
    let is_out = |candidate: &Candidate| {
        let function = Domain::of_function(candidate.name(), candidate);
        domains.iter().any(|domain| domain.contains(&function))
    };
    let left = candidates.filter(|candidate| !is_out(candidate));
    // These may be a part, such as one tier: then the other candidates can serve, and none is kept.
    let is_left = |candidate: &Candidate| candidate.is_eligible() && !is_out(candidate);
    if left.is_empty() && !candidates.scope().any(is_left) { candidates } else { left }
}
