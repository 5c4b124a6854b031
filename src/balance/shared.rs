use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::task::AtomicWaker;

use super::{DriverStatus, snapshot::Snapshot};
use crate::{
    Error,
    endpoint::WaitQueue,
    escape::Escaped,
    strategy::Rng,
    sync::{Mutex, lock},
};

/// The state that all clones of a balancer share.
pub(super) struct Shared<S, P> {
    pub(super) snapshot: ArcSwap<Snapshot<S, P>>,
    /// The newest snapshot has eligible endpoints; cheaper to read than the snapshot.
    eligible: AtomicBool,
    /// In the newest snapshot, some endpoints have an allowance of requests.
    rationed: AtomicBool,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) config: Config,
    driver: Mutex<DriverStatus>,
    driver_gone: AtomicBool,
    seed: AtomicU64,
    /// Wakes the driver when all balancers are dropped.
    orphaned: Arc<AtomicWaker>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Config {
    pub(super) max_outstanding: Option<u32>,
    pub(super) max_wait: Option<Duration>,
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
        Self {
            eligible: AtomicBool::new(!snapshot.candidates.is_empty()),
            rationed: AtomicBool::new(snapshot.rationed),
            snapshot: ArcSwap::from_pointee(snapshot),
            queue: Arc::default(),
            config,
            driver: Mutex::new(DriverStatus::default()),
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
        let (eligible, rationed) = (!snapshot.candidates.is_empty(), snapshot.rationed);
        // The snapshot first: a request that reads `eligible` must find the endpoints in it.
        self.snapshot.store(Arc::new(snapshot));
        self.rationed.store(rationed, Ordering::SeqCst);
        self.eligible.store(eligible, Ordering::SeqCst);
        self.queue.changed();
    }

    pub(super) fn driver_status(&self) -> DriverStatus {
        lock(&self.driver).clone()
    }

    pub(super) fn update_driver_status(&self, update: impl FnOnce(&mut DriverStatus)) {
        update(&mut lock(&self.driver));
    }

    /// Records that the driver has ended and publishes nothing more.
    pub(super) fn driver_gone(&self) {
        self.driver_gone.store(true, Ordering::SeqCst);
        self.queue.changed();
    }

    #[inline]
    pub(super) fn readiness(&self, rng: &mut Rng) -> Readiness {
        if !self.eligible.load(Ordering::SeqCst) {
            return self.readiness_without_candidates();
        }
        match self.config.max_outstanding {
            None if !self.rationed.load(Ordering::SeqCst) => Readiness::Ready,
            _ => self.readiness_by_room(rng),
        }
    }

    fn readiness_by_room(&self, rng: &mut Rng) -> Readiness {
        let snapshot = self.snapshot.load();
        // A slot that is offered to a queued request counts as used, so any request may take this
        // room.
        if snapshot.candidates.any_has_room(rng) {
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
            (0, true) => Readiness::Never(Error::Closed),
            (0, false) => Readiness::Wait(Lack::Endpoints),
            (_, true) => Readiness::Never(Error::Unavailable(snapshot.unavailable())),
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
            (Lack::Endpoints, _) => Error::NoEndpoints,
            (Lack::Room, Some(max_outstanding)) => Error::Overloaded { max_outstanding },
            _ => Error::Unavailable(self.snapshot.load().unavailable()),
        }
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
