use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Builder, Driver, EndpointStatus, ResponseFuture, Status,
    acquire::Acquire,
    shared::{Readiness, Shared},
    wait_timer::Patience,
};
use crate::{
    BoxError, Error,
    discover::Discover,
    endpoint::{Tried, WaitQueue, Watch},
    load::Now,
    outcome::{Attempt, Attempts, Follow, LoadReport, OnResponse, Track},
    strategy::{Pick, PickContext, Rng, Strategy},
};

/// A `Service` that sends each request to one of a changing set of endpoints.
///
/// `S` is the endpoints' service, `P` the strategy's picker, `T` decides when an attempt is over
/// ([`Track`]). The request is no parameter: one balancer serves every request that its endpoints
/// serve and its picker can judge.
///
/// **Clones** share endpoints and figures, and are independent otherwise: none holds a lock that
/// another waits for. A clone costs two atomic increments and seeds a generator.
///
/// **Readiness.** `poll_ready` is pending while no endpoint could take a request: none is known, none
/// is healthy, or all have as many outstanding as they may. It fails only if that can never change.
/// Ready means that some request could be sent. It reserves nothing, so a request that comes too
/// late for the last free slot, or that its strategy sends to a full endpoint, waits in its
/// response future. A waiting request delays only requests that compete for the same endpoints.
///
/// In `call` the picked endpoint's own `poll_ready` is asked. If it is pending, the response future
/// waits for it *and* tries others, up to five, and takes the first that is ready. The instance that
/// got ready is the one that is called.
pub struct Balancer<S, P, T = OnResponse> {
    shared: Arc<Shared<S, P>>,
    tracker: T,
    rng: Rng,
    waiting: Option<Waiting>,
    /// `poll_ready` has waited as long as it may: the next call must not.
    out_of_patience: bool,
}

/// A `poll_ready` that is pending.
struct Waiting {
    watch: Watch,
    patience: Patience,
}

impl<S: Clone, P> Balancer<S, P> {
    /// A balancer over these endpoints, and the driver that must be polled for it to learn of
    /// them: spawn it. For settings see [`builder`](Balancer::builder).
    pub fn new<St, D>(strategy: St, discover: D) -> (Self, Driver<D, St>)
    where
        D: Discover<Target = S>,
        D::Key: fmt::Display + Eq + Hash,
        D::Error: Into<BoxError>,
        St: Strategy<Picker = P>,
    {
        Builder::new().assemble(strategy, discover)
    }

    /// A balancer whose driver is spawned on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, as [`tokio::spawn`] does.
    pub fn spawn<St, D>(strategy: St, discover: D) -> Self
    where
        D: Discover<Target = S> + Send + 'static,
        D::Key: fmt::Display + Eq + Hash + Send,
        D::Error: Into<BoxError>,
        St: Strategy<Picker = P> + Send + 'static,
        S: Send + Sync + 'static,
        P: Send + Sync + 'static,
    {
        let (balancer, driver) = Self::new(strategy, discover);
        tokio::spawn(driver);
        balancer
    }
}

impl Balancer<(), ()> {
    /// Settings for a balancer.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<S, P, T> Balancer<S, P, T> {
    pub(super) fn from_parts(shared: Arc<Shared<S, P>>, tracker: T) -> Self {
        let rng = shared.next_rng();
        Self { shared, tracker, rng, waiting: None, out_of_patience: false }
    }

    /// Passes on what an endpoint, named by its key as text, says of its load, when that comes another
    /// way than with a response. False if there is no such endpoint. Takes time in proportion to
    /// the number of endpoints.
    pub fn report(&self, endpoint: &str, report: &LoadReport) -> bool {
        let snapshot = self.shared.snapshot.load();
        let named = snapshot.candidates.all().find(|candidate| candidate.name() == endpoint);
        named.is_some_and(|candidate| {
            candidate.report(report, Instant::now());
            true
        })
    }

    /// All endpoints with their figures, and how the driver is doing, at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let snapshot = self.shared.snapshot.load();
        Status {
            endpoints: snapshot.candidates.all().map(EndpointStatus::of).collect(),
            notices: snapshot.notices.clone(),
            driver: self.shared.driver_status(),
            version: snapshot.version,
        }
    }
}

impl<S, P, T, Req> Service<Req> for Balancer<S, P, T>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    P: Pick<Req>,
    T: Track<S::Response> + Follow<Req> + Clone,
{
    type Response = T::Response;
    type Error = Error;
    type Future = ResponseFuture<S, P, T, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.waiting.is_none()
            && matches!(self.shared.readiness(&mut self.rng), Readiness::Ready)
        {
            return Poll::Ready(Ok(()));
        }
        self.wait(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let impatient = std::mem::take(&mut self.out_of_patience);
        let (engaged, version) = match self.tracker.attempts(&request) {
            None => self.start_attempt(&request),
            Some(attempts) => self.engage_again(&request, attempts),
        };
        let Some((mut service, attempt)) = engaged else {
            let acquire = self.slow_path(request, version);
            return self.acquire(acquire, impatient);
        };
        // Most services are ready at once. One that is not is asked again, with the waker of the
        // task, when the response future is polled.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let response = service.call(request);
                ResponseFuture::responding(response, attempt, self.tracker.clone())
            }
            Poll::Ready(Err(error)) => {
                let mut acquire = self.slow_path(request, version);
                acquire.failed(error, attempt, &self.tracker);
                self.acquire(acquire, impatient)
            }
            Poll::Pending => {
                let mut acquire = self.slow_path(request, version);
                acquire.wait_for(service, attempt);
                self.acquire(acquire, impatient)
            }
        }
    }
}

impl<S, P, T> Balancer<S, P, T> {
    /// Picks an endpoint and takes a slot there, if one is free. Slots that requests in line are to have
    /// are not. Tells the version of the snapshot picked from.
    #[inline]
    fn start_attempt<Req>(&mut self, request: &Req) -> (Option<(S, Attempt)>, u64)
    where
        S: Clone,
        P: Pick<Req>,
    {
        let mut now = Now::lazy();
        let snapshot = self.shared.snapshot.load();
        let started = snapshot.timed.then(|| now.get());
        let mut context = if !self.shared.is_limited() && !snapshot.rationed {
            PickContext::unrestricted(&mut self.rng, now)
        } else {
            PickContext::new(&mut self.rng, now, &UNTRIED)
        };
        let candidate = snapshot.picker.pick(request, &mut context);
        let pick_metadata = context.pick_metadata();
        let engaged = candidate
            .and_then(|candidate| snapshot.start_attempt(candidate, started, pick_metadata));
        (engaged, snapshot.version)
    }

    /// The same for a request that may have been elsewhere, or is going there at the same time.
    fn engage_again<Req>(
        &mut self,
        request: &Req,
        attempts: &Attempts,
    ) -> (Option<(S, Attempt)>, u64)
    where
        S: Clone,
        P: Pick<Req>,
    {
        let snapshot = self.shared.snapshot.load();
        let mut now = Now::lazy();
        let started = snapshot.timed.then(|| now.get());
        let tried = attempts.tried();
        let context = PickContext::new(&mut self.rng, now, &tried);
        let mut context = context.for_attempt(attempts.number());
        let picked = snapshot.picker.pick(request, &mut context);
        let pick_metadata = context.pick_metadata();
        let elsewhere = attempts.is_elsewhere();
        let candidate = picked.filter(|picked| !(elsewhere && tried.contains(picked.stats())));
        let engaged = candidate.and_then(|candidate| {
            let engaged = snapshot.start_attempt(candidate, started, pick_metadata)?;
            attempts.went_to(candidate.stats());
            Some(engaged)
        });
        (engaged, snapshot.version)
    }

    fn slow_path<Req>(&self, request: Req, version: u64) -> Box<Acquire<S, P, Req>>
    where
        T: Follow<Req>,
    {
        let attempts = self.tracker.attempts(&request).cloned();
        Acquire::new(&self.shared, request, attempts, version)
    }

    #[cold]
    fn acquire<Req>(
        &self,
        mut acquire: Box<Acquire<S, P, Req>>,
        impatient: bool,
    ) -> ResponseFuture<S, P, T, Req>
    where
        S: Service<Req>,
        T: Clone,
    {
        acquire.impatient = impatient;
        ResponseFuture::acquiring(acquire, self.tracker.clone())
    }

    #[cold]
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let queue = &self.shared.queue;
        let waiting = self.waiting.get_or_insert_with(|| Waiting::new(queue));
        // Registered before looking, so that no change goes by unseen.
        waiting.watch.register(cx.waker());
        match self.shared.readiness(&mut self.rng) {
            Readiness::Ready => {}
            Readiness::Never(reason) => return Poll::Ready(Err(reason)),
            Readiness::Wait(lack) => {
                ready!(waiting.patience.poll(cx, self.shared.patience(lack)));
                self.out_of_patience = true;
            }
        }
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

static UNTRIED: Tried = Tried::none();

impl Waiting {
    fn new(queue: &Arc<WaitQueue>) -> Self {
        Self { watch: Watch::for_room(Arc::clone(queue)), patience: Patience::default() }
    }
}

impl<S, P, T: Clone> Clone for Balancer<S, P, T> {
    fn clone(&self) -> Self {
        Self::from_parts(Arc::clone(&self.shared), self.tracker.clone())
    }
}

impl<S, P, T> fmt::Debug for Balancer<S, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("status", &self.status()).finish_non_exhaustive()
    }
}
