use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{domain::Domain, pauses::Pauses, shed_share::ShedShare};
use crate::{
    endpoint::Attributes,
    lambda::{AvoidThrottled, InvokeError, ShedLayer, Throttle, TrackThrottles},
    strategy::{Registration, Wakers},
    sync::{Mutex, lock},
};

/// Remembers throttles, and keeps requests from where they would be throttled again.
///
/// What is done depends on how far a throttle [reaches](crate::lambda::ThrottleScope):
///
/// - **A function's own limit**: all endpoints of that function (its aliases and versions, in that
///   region) are left out of the pick for 100 ms.
/// - **The account's limit in a region**: all endpoints of that account and region are left out for
///   1 s.
/// - **The caller's rate**: no endpoint would help. So many requests are shed before they are sent
///   that hardly one is throttled; [`shed`](Self::shed) does that.
///
/// A pause is longer if the service asks for it, and doubles each time that it did not help, up to a
/// minute. To leave endpoints out is a preference: if none would be left, all stay.
///
/// Which function an endpoint is, and of which account, is read from its name, if that is a
/// [`FunctionName`](crate::lambda::FunctionName); its region is that of its
/// [`Locality`](crate::endpoint::Locality), or else of its ARN.
///
/// The three parts go to three places. Clones share what they know, and balancers may share one.
///
/// ```
/// use tower::{Service, ServiceBuilder};
/// use tower_lb::{
///     lambda::{self, Throttles, UntilResponse}, strategy::P2c,
/// };
/// # use tower_lb::{discover, lambda::{Function, FunctionName, Invocation, Invoked}};
/// # let invoke = |_: &FunctionName, _: Invocation| std::future::ready(Ok(Invoked::new(200, "")));
/// # let functions = discover::list([("f", Function::new(invoke, "f".parse()?).into())]);
///
/// let throttles = Throttles::new();
/// let (balancer, driver) = lambda::builder()
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
    /// Touched when something is throttled, and by drivers.
    watched: Mutex<Watched>,
    drivers: Wakers,
    pub(super) shed_share: ShedShare,
}

#[derive(Debug, Default)]
struct Watched {
    pauses: Pauses,
    /// Goes up with each new pause.
    version: u64,
}

/// The pauses at one moment.
#[derive(Debug)]
pub(super) struct Paused {
    pub(super) domains: Vec<Domain>,
    /// How many pauses there have been.
    pub(super) version: u64,
    /// When the next one ends.
    pub(super) next_end: Option<Instant>,
}

const FUNCTION_PAUSE: Duration = Duration::from_millis(100);
const REGION_PAUSE: Duration = Duration::from_secs(1);

impl Throttles {
    /// Nothing is known to be throttled.
    #[must_use]
    pub fn new() -> Self {
        let (watched, drivers, shed_share) =
            (Mutex::default(), Wakers::default(), ShedShare::new());
        let memory = Memory { watched, drivers, shed_share };
        Self { memory: Arc::new(memory) }
    }

    /// Learns from what `tracker` is told of.
    pub fn track<T>(&self, tracker: T) -> TrackThrottles<T> {
        TrackThrottles::new(tracker, Arc::clone(&self.memory))
    }

    /// Lets `strategy` choose among the endpoints that are not throttled.
    pub fn avoid_throttled<St>(&self, strategy: St) -> AvoidThrottled<St> {
        AvoidThrottled::new(strategy, Arc::clone(&self.memory))
    }

    /// Turns requests away while this caller calls too fast; to be put in front of the balancer.
    #[must_use]
    pub fn shed(&self) -> ShedLayer {
        ShedLayer::new(Arc::clone(&self.memory))
    }
}

impl Default for Throttles {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An attempt at an endpoint failed.
    pub(super) fn learn(
        &self,
        error: &(dyn std::error::Error + 'static),
        name: &str,
        attributes: &Attributes,
    ) {
        if let Some(InvokeError::Throttled(throttle)) = InvokeError::find(error) {
            match Domain::of(name, attributes, throttle.scope()) {
                None => self.shed_share.throttled(Instant::now()),
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
            drop(watched);
            self.drivers.wake();
            tracing::info!(domain = name, reason = %throttle.reason(), ?pause, "left out of the pick");
        }
    }

    /// A place among the drivers that are woken when there is a new pause.
    pub(super) fn registration(&self) -> Registration {
        self.drivers.registration()
    }

    /// How many pauses there have been.
    pub(super) fn version(&self) -> u64 {
        lock(&self.watched).version
    }

    /// The pauses at this moment.
    pub(super) fn paused(&self) -> Paused {
        let (watched, now) = (lock(&self.watched), Instant::now());
        Paused {
            domains: watched.pauses.active(now).cloned().collect(),
            version: watched.version,
            next_end: watched.pauses.next_end(now),
        }
    }
}
