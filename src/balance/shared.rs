use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::task::AtomicWaker;

use super::{
    DriverStatus, EndpointStatus, Status,
    history::{Change, Event, History},
    snapshot::Snapshot,
    snapshot_cache::KeptSnapshots,
    wait_timer::WaitTimer,
};
use crate::{
    Error, Unavailable,
    endpoint::{Distribution, Durations, Observation, WaitQueue},
    escape::Escaped,
    histogram::Histogram,
    strategy::Rng,
    sync::{Mutex, lock},
};

/// The state that all clones of a balancer share.
pub(super) struct Shared<S, P> {
    pub(super) snapshot: ArcSwap<Snapshot<S, P>>,
    /// Any request could be served: there are eligible endpoints, and no limits. Cheaper to read
    /// than the snapshot.
    open: AtomicBool,
    /// The snapshots that clones keep.
    pub(super) kept: KeptSnapshots<S, P>,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) config: Config,
    driver: Mutex<DriverStatus>,
    history: Mutex<History>,
    /// The observation of endpoints that need only the name.
    named: Option<Arc<Observation>>,
    /// How long requests waited for an endpoint before they were sent or failed.
    pub(super) waits: Histogram,
    /// Requests that found the queue full, and no endpoint with room.
    rejected: AtomicU64,
    driver_gone: AtomicBool,
    seed: AtomicU64,
    /// Wakes the driver when all balancers are dropped.
    orphaned: Arc<AtomicWaker>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    pub(super) name: Option<Arc<str>>,
    /// Measures how long attempts take.
    pub(super) measure_durations: bool,
    pub(super) max_outstanding: Option<u32>,
    pub(super) max_wait: Option<Duration>,
    pub(super) max_waiting: Option<usize>,
    pub(super) fail_fast: Option<Duration>,
}

/// Whether a request could be served at this moment.
pub(super) enum Readiness {
    Ready,
    /// Not now, because something is lacking, but perhaps later.
    Wait(Lack),
    /// Never again, for this reason.
    Never(Error),
}

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lack {
    /// Any endpoint: none is known.
    Endpoints,
    /// An eligible endpoint.
    Eligible,
    /// A picked endpoint whose `poll_ready` is ready.
    Ready,
    /// A free slot at an endpoint that the strategy picks for the request.
    Room,
}

impl Lack {
    fn as_str(self) -> &'static str {
        match self {
            Self::Endpoints => "an endpoint",
            Self::Eligible => "an eligible endpoint",
            Self::Ready => "a ready endpoint",
            Self::Room => "an endpoint with room",
        }
    }
}

impl<S, P> Shared<S, P> {
    pub(super) fn new(
        snapshot: Snapshot<S, P>,
        config: Config,
        seed: u64,
        orphaned: Arc<AtomicWaker>,
    ) -> Self {
        let named =
            config.name.clone().map(|name| Observation { balancer: Some(name), durations: None });
        Self {
            named: named.map(Arc::new),
            open: AtomicBool::new(snapshot.is_open()),
            kept: KeptSnapshots::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            queue: Arc::default(),
            config,
            driver: Mutex::new(DriverStatus::default()),
            history: Mutex::default(),
            // From 1 µs to 19 h.
            waits: Histogram::new(36, 2),
            rejected: AtomicU64::new(0),
            driver_gone: AtomicBool::new(false),
            seed: AtomicU64::new(seed),
            orphaned,
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.config.max_outstanding.is_some()
    }

    /// Returns a generator for one more clone.
    pub(super) fn next_rng(&self) -> Rng {
        Rng::seeded(self.seed.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn publish(&self, snapshot: Snapshot<S, P>) {
        let open = snapshot.is_open();
        // The snapshot first: a request that reads `open` must find the endpoints in it.
        self.snapshot.store(Arc::new(snapshot));
        self.kept.clear();
        self.open.store(open, Ordering::SeqCst);
        self.queue.changed();
    }

    /// Returns true if any request could be served.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn driver_status(&self) -> DriverStatus {
        lock(&self.driver).clone()
    }

    pub(super) fn update_driver_status(&self, update: impl FnOnce(&mut DriverStatus)) {
        update(&mut lock(&self.driver));
    }

    pub(super) fn record(&self, changes: impl IntoIterator<Item = Change>) {
        lock(&self.history).record(changes);
    }

    /// Records that a wait is over.
    pub(super) fn record_wait(&self, timer: &WaitTimer) {
        if let Some(waited) = timer.waited() {
            self.waits.record(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn status(&self) -> Status {
        let snapshot = self.snapshot.load();
        let mut is_eligible = vec![false; snapshot.endpoints];
        snapshot.candidates.iter().for_each(|one| is_eligible[one.position()] = true);
        let all = snapshot.candidates.all();
        let mut endpoints: Vec<_> =
            all.map(|one| EndpointStatus::of(one, is_eligible[one.position()])).collect();
        endpoints.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        Status {
            name: self.name(),
            endpoints,
            notices: Arc::clone(&snapshot.notices),
            driver: self.driver_status(),
            version: snapshot.version,
            waiting: self.queue.len(),
            rejected: self.rejected.load(Ordering::Relaxed),
            waits: Distribution::of(&self.waits),
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        lock(&self.history).events()
    }

    /// Records that the driver has ended and publishes nothing more.
    pub(super) fn driver_gone(&self) {
        self.driver_gone.store(true, Ordering::SeqCst);
        self.queue.changed();
    }

    pub(super) fn readiness(&self, rng: &mut Rng) -> Readiness {
        let snapshot = self.snapshot.load();
        if snapshot.candidates.is_empty() {
            return self.readiness_without_candidates();
        }
        // A slot that is offered to a queued request counts as used, so any request may take this
        // room.
        if !snapshot.limited || snapshot.candidates.any_has_room(rng) {
            return Readiness::Ready;
        }
        Readiness::Wait(Lack::Room)
    }

    #[cold]
    fn readiness_without_candidates(&self) -> Readiness {
        // Read before the snapshot: the driver publishes its last snapshot before it sets this.
        let driver_gone = self.driver_gone.load(Ordering::SeqCst);
        let snapshot = self.snapshot.load();
        match (snapshot.endpoints, driver_gone) {
            _ if !snapshot.candidates.is_empty() => Readiness::Ready,
            (0, true) => Readiness::Never(Error::Closed { balancer: self.name() }),
            (0, false) => Readiness::Wait(Lack::Endpoints),
            (_, true) => Readiness::Never(Error::Unavailable(self.unavailable())),
            (_, false) => Readiness::Wait(Lack::Eligible),
        }
    }

    /// Returns how long to wait for what is lacking; `None` is indefinitely.
    pub(super) fn wait_limit(&self, lack: Lack) -> Option<Duration> {
        match lack {
            Lack::Room if self.is_limited() => self.config.max_wait,
            _ => self.config.fail_fast,
        }
    }

    /// Returns the error of a request that has waited up to its limit. Takes time in proportion to
    /// the number of endpoints.
    #[cold]
    pub(super) fn error(&self, lack: Lack) -> Error {
        match (lack, self.config.max_outstanding) {
            (Lack::Endpoints, _) => Error::NoEndpoints { balancer: self.name() },
            (Lack::Room, Some(max_outstanding)) => {
                Error::Overloaded { balancer: self.name(), max_outstanding }
            }
            _ => Error::Unavailable(self.unavailable()),
        }
    }

    /// Returns the error of a request that found the queue full, and counts it if it lacked room.
    #[cold]
    pub(super) fn reject(&self, lack: Lack) -> Error {
        if matches!(lack, Lack::Room) {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.error(lack)
    }

    /// Returns the error of a request for which the strategy picks no endpoint.
    #[cold]
    pub(super) fn refused(&self) -> Error {
        Error::Refused { balancer: self.name() }
    }

    /// Returns what a new endpoint is observed with.
    pub(super) fn observation(&self) -> Option<Arc<Observation>> {
        match (&self.config.name, self.config.measure_durations) {
            (_, true) => {
                let durations = Some(Durations::new());
                Some(Arc::new(Observation { balancer: self.name(), durations }))
            }
            // All endpoints share it.
            (Some(_), false) => self.named.clone(),
            (None, false) => None,
        }
    }

    fn name(&self) -> Option<Arc<str>> {
        self.config.name.clone()
    }

    fn unavailable(&self) -> Unavailable {
        Unavailable { balancer: self.name(), ..self.snapshot.load().unavailable() }
    }

    /// Logs that `waiting`, which is `poll_ready` or a request, has waited for `waited`. Takes time
    /// in proportion to the number of endpoints.
    #[cold]
    pub(super) fn log_wait(&self, waiting: &'static str, lack: Lack, waited: Duration) {
        if !tracing::enabled!(tracing::Level::WARN) {
            return;
        }
        let why = self.snapshot.load().unavailable();
        let example = why.example.as_ref().map(|(name, _)| tracing::field::display(Escaped(name)));
        let health = why.example.as_ref().map(|(_, health)| tracing::field::display(health));
        tracing::warn!(
            balancer = self.config.name.as_deref(),
            waiting,
            waits_for = lack.as_str(),
            waited = ?waited,
            queued = self.queue.len(),
            max_outstanding = self.config.max_outstanding,
            endpoints = why.endpoints,
            eligible = why.not_ready,
            unhealthy = why.unhealthy,
            draining = why.draining,
            zero_weight = why.zero_weight,
            excluded = why.excluded,
            example,
            health,
            "still waiting for an endpoint"
        );
    }
}

impl<S, P> Drop for Shared<S, P> {
    fn drop(&mut self) {
        self.orphaned.wake();
    }
}
