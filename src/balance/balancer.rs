use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Builder, Driver, Event, Monitor, ResponseFuture, Status,
    acquire::Acquire,
    monitor::Monitored,
    shared::{Lack, Readiness, Shared},
    snapshot_cache::SnapshotCache,
    target::Target,
    wait_timer::WaitTimer,
};
use crate::{
    BoxError, Error,
    discover::Discover,
    endpoint::{WaitQueue, Watch},
    outcome::{Attempt, Follow, LoadReport, OnResponse, Track},
    strategy::{P2c, Pick, Rng, Strategy},
};

/// A `Service` that sends each request to one of a changing set of endpoints.
///
/// `S` is the service of an endpoint, `St` the [`Strategy`], and `T` the [tracker](Track), which
/// decides when an attempt is over. The request is not a parameter: a balancer serves every request
/// that both its endpoints and its strategy accept.
///
/// ```
/// use tower_lb::{Balancer, strategy::P2c};
///
/// struct Gateway<Client> {
///     users: Balancer<Client, P2c>,
/// }
/// ```
///
/// **Clones** share the endpoints and their figures, and are independent otherwise: no clone holds
/// a lock that another waits for. A clone costs two atomic increments and seeds a generator.
///
/// **Readiness.** `poll_ready` is pending while no endpoint could take a request: none is known,
/// none is healthy, or all have as many requests outstanding as they may. It fails only if that can
/// never change. Ready means that some request could be sent. It reserves nothing: a request that
/// finds the last free slot taken, or that its strategy sends to a full endpoint, waits in its
/// response future. A waiting request delays only requests that compete for the same endpoints.
///
/// `call` polls the `poll_ready` of the picked endpoint. If it is pending, the response future
/// waits for it *and* tries other endpoints, up to five, and takes the first that is ready. It
/// calls the clone of the service that got ready.
///
/// **Waiting.** A `poll_ready` or a request that waits longer than 1 s logs a warning once, which
/// says what it waits for and how many endpoints are in which state. Inside a tokio runtime,
/// waiting needs the runtime's timer to be enabled.
pub struct Balancer<S, St: Strategy, T = OnResponse> {
    pub(super) shared: Arc<Shared<S, St::Picker>>,
    pub(super) tracker: T,
    pub(super) rng: Rng,
    cache: SnapshotCache<S, St::Picker>,
    waiting: Option<Waiting>,
    /// `poll_ready` has waited up to its limit, so the next call fails instead of waiting again.
    wait_is_over: bool,
}

/// A `poll_ready` that is pending.
struct Waiting {
    watch: Watch,
    timer: WaitTimer,
}

impl<S, St: Strategy> Balancer<S, St> {
    /// Creates a balancer over the endpoints of `discover`, and its driver. Spawn the driver: the
    /// balancer learns of endpoints while it is polled.
    ///
    /// An attempt fails if the service returns an error. For HTTP and gRPC, where statuses tell of
    /// failures and retries must know which endpoint was tried, use `Builder::http()`.
    ///
    /// For settings see [`builder`](Balancer::builder). The builder also takes targets that serve
    /// several types of requests, for which the compiler cannot infer `Req` here.
    pub fn new<D, Req>(strategy: St, discover: D) -> (Self, Driver<D, St>)
    where
        D: Discover<Target = S>,
        D::Key: fmt::Display + Eq + Hash,
        D::Error: Into<BoxError>,
        S: Target<Req>,
        St: Strategy<Picker: Pick<Req>>,
    {
        Builder::new().assemble(strategy, discover)
    }

    /// Creates a balancer as [`new`](Self::new) does, and spawns its driver on the current tokio
    /// runtime.
    ///
    /// # Panics
    ///
    /// Panics at the caller if it is called outside of a tokio runtime.
    #[track_caller]
    pub fn spawn<D, Req>(strategy: St, discover: D) -> Self
    where
        D: Discover<Target = S> + Send + 'static,
        D::Key: fmt::Display + Eq + Hash + Send,
        D::Error: Into<BoxError>,
        S: Target<Req> + Send + Sync + 'static,
        St: Strategy<Picker: Pick<Req> + Send + Sync> + Send + 'static,
    {
        let (balancer, driver) = Self::new(strategy, discover);
        tokio::spawn(driver);
        balancer
    }
}

// `builder` does not depend on the parameters; naming them here lets callers write
// `Balancer::builder()`.
impl Balancer<(), P2c> {
    /// Returns the settings of a balancer, all at their defaults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<S, St: Strategy, T> Balancer<S, St, T> {
    pub(super) fn from_parts(shared: Arc<Shared<S, St::Picker>>, tracker: T) -> Self {
        let rng = shared.next_rng();
        let cache = SnapshotCache::new();
        Self { shared, tracker, rng, cache, waiting: None, wait_is_over: false }
    }

    /// Passes on a load report that did not come with a response. `endpoint` is the endpoint's key
    /// as text.
    ///
    /// Returns false if there is no such endpoint. Takes time in proportion to the number of
    /// endpoints.
    pub fn report(&self, endpoint: &str, report: &LoadReport) -> bool {
        let snapshot = self.shared.snapshot.load();
        let named = snapshot.candidates.all().find(|candidate| candidate.name() == endpoint);
        named.is_some_and(|candidate| {
            candidate.report(report, Instant::now());
            true
        })
    }

    /// Returns the name of the balancer, if it has [one](Builder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.shared.config.name.as_deref()
    }

    /// Returns all endpoints with their figures, and the state of the driver, at this moment.
    ///
    /// Takes time in proportion to the number of endpoints, and no lock that a request needs.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns a handle that reads status and events and does not keep the balancer alive.
    #[must_use]
    pub fn monitor(&self) -> Monitor
    where
        S: Send + Sync + 'static,
        St::Picker: Send + Sync + 'static,
    {
        let shared: Arc<dyn Monitored> = self.shared.clone();
        Monitor::new(Arc::downgrade(&shared))
    }

    /// Returns the latest changes that the balancer has seen, up to 64, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.events()
    }
}

impl<S, St, T, Req> Service<Req> for Balancer<S, St, T>
where
    S: Target<Req>,
    St: Strategy<Picker: Pick<Req>>,
    T: Track<S::Response> + Follow<Req> + Clone,
{
    type Response = T::Response;
    type Error = Error;
    type Future = ResponseFuture<S, St, T, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.waiting.is_none() && (self.shared.is_open() || self.has_room()) {
            return Poll::Ready(Ok(()));
        }
        self.wait(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (started, version) = match self.cache.kept() {
            Some(kept) => {
                let (snapshot, attempts) = (kept.snapshot(), self.tracker.attempts(&request));
                (snapshot.start(&request, attempts, &mut self.rng), snapshot.version)
            }
            None => {
                let (started, version) = self.load_and_start(&request);
                // Taken apart: what a function returns through memory would else stay there.
                #[expect(clippy::map_identity, reason = "see above")]
                let started = started.map(|(service, attempt)| (service, attempt));
                (started, version)
            }
        };
        let Some((mut service, attempt)) = started else {
            let acquire = self.slow_path(request, version);
            return self.acquiring(acquire);
        };
        // Most services are ready at once. One that is not is polled again, with the waker of the
        // task, when the response future is polled.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                self.wait_is_over = false;
                let response = service.call(request);
                ResponseFuture::responding(response, attempt, self.tracker.clone())
            }
            Poll::Ready(Err(error)) => {
                let mut acquire = self.slow_path(request, version);
                acquire.failed(error, attempt, &self.tracker);
                self.acquiring(acquire)
            }
            Poll::Pending => {
                let mut acquire = self.slow_path(request, version);
                acquire.wait_for(service, attempt);
                self.acquiring(acquire)
            }
        }
    }
}

impl<S, St: Strategy, T> Balancer<S, St, T> {
    /// Starts an attempt when no snapshot is kept: in the first calls of a clone, and once after
    /// each change of the endpoints. Apart from the other calls, whose snapshot is dropped in one
    /// way.
    #[inline(never)]
    fn load_and_start<Req>(&mut self, request: &Req) -> (Option<(S, Attempt)>, u64)
    where
        S: Clone,
        St: Strategy<Picker: Pick<Req>>,
        T: Follow<Req>,
    {
        let current = self.cache.load(&self.shared);
        let (snapshot, attempts) = (current.snapshot(), self.tracker.attempts(request));
        (snapshot.start(request, attempts, &mut self.rng), snapshot.version)
    }

    // A box, not the response future: what no call writes need not be in memory.
    #[cold]
    #[inline(never)]
    fn slow_path<Req>(&mut self, request: Req, version: u64) -> Box<Acquire<S, St::Picker, Req>>
    where
        T: Follow<Req>,
    {
        let attempts = self.tracker.attempts(&request).cloned();
        let mut acquire = Acquire::new(&self.shared, request, attempts, version);
        acquire.no_wait = std::mem::take(&mut self.wait_is_over);
        acquire
    }

    #[inline(always)]
    fn acquiring<Req>(
        &self,
        acquire: Box<Acquire<S, St::Picker, Req>>,
    ) -> ResponseFuture<S, St, T, Req>
    where
        S: Service<Req>,
        T: Clone,
    {
        ResponseFuture::acquiring(acquire, self.tracker.clone())
    }

    /// Returns true if some endpoint has room for a request.
    #[inline(never)]
    fn has_room(&mut self) -> bool {
        let current = self.cache.kept().unwrap_or_else(|| self.cache.load(&self.shared));
        current.snapshot().candidates.any_has_room(&mut self.rng)
    }

    #[cold]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let queue = &self.shared.queue;
        let waiting = self.waiting.get_or_insert_with(|| Waiting::new(queue));
        // Registers before it looks: a change after the look then wakes this task.
        waiting.watch.register(cx.waker());
        match self.shared.readiness(&mut self.rng) {
            Readiness::Ready => {}
            Readiness::Never(reason) => return Poll::Ready(Err(reason)),
            Readiness::Wait(lack) => {
                // The queue is limited, so requests wait there, where they are counted.
                if matches!(lack, Lack::Room) && self.shared.config.max_waiting.is_some() {
                    self.waiting = None;
                    return Poll::Ready(Ok(()));
                }
                let log = |waited| self.shared.log_wait("poll_ready", lack, waited);
                ready!(waiting.timer.poll(cx, self.shared.wait_limit(lack), log));
                // Ready, not an error: an error of `poll_ready` would be final. The call fails.
                self.wait_is_over = true;
            }
        }
        if let Some(waiting) = self.waiting.take() {
            self.shared.record_wait(&waiting.timer);
        }
        Poll::Ready(Ok(()))
    }
}

impl Waiting {
    fn new(queue: &Arc<WaitQueue>) -> Self {
        Self { watch: Watch::for_room(Arc::clone(queue)), timer: WaitTimer::default() }
    }
}

impl<S, St: Strategy, T: Clone> Clone for Balancer<S, St, T> {
    fn clone(&self) -> Self {
        Self::from_parts(Arc::clone(&self.shared), self.tracker.clone())
    }
}

impl<S, St: Strategy, T> fmt::Debug for Balancer<S, St, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("status", &self.status()).finish_non_exhaustive()
    }
}
