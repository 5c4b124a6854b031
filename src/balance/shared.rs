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
    strategy::Rng,
    sync::{Mutex, lock},
};

/// What all clones of a balancer share.
pub(super) struct Shared<S, P> {
    pub(super) snapshot: ArcSwap<Snapshot<S, P>>,
    /// The newest snapshot has eligible endpoints; cheaper to read than the snapshot.
    eligible: AtomicBool,
    /// In it, some endpoints may get no more than a number of requests.
    rationed: AtomicBool,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) config: Config,
    driver: Mutex<DriverStatus>,
    driver_gone: AtomicBool,
    seed: AtomicU64,
    /// Tells the driver when all balancers are gone.
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
    /// An endpoint.
    Endpoints,
    /// One that may get requests.
    Eligible,
    /// One that is ready.
    Ready,
    /// Room at one where the request may go.
    Room,
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

    /// A generator for one more clone.
    pub(super) fn next_rng(&self) -> Rng {
        Rng::seeded(self.seed.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn publish(&self, snapshot: Snapshot<S, P>) {
        let (eligible, rationed) = (!snapshot.candidates.is_empty(), snapshot.rationed);
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

    /// The driver has ended: nothing will be published any more.
    pub(super) fn driver_gone(&self) {
        self.driver_gone.store(true, Ordering::SeqCst);
        self.queue.changed();
    }

    #[inline]
    pub(super) fn readiness(&self, rng: &mut Rng) -> Readiness {
        if !self.eligible.load(Ordering::SeqCst) {
            return self.outlook_without_candidates();
        }
        match self.config.max_outstanding {
            None if !self.rationed.load(Ordering::SeqCst) => Readiness::Ready,
            _ => self.outlook_by_room(rng),
        }
    }

    fn outlook_by_room(&self, rng: &mut Rng) -> Readiness {
        let snapshot = self.snapshot.load();
        // A slot that is kept for a request in line is in use, so this is room for any request.
        if snapshot.candidates.any_has_room(rng) {
            return Readiness::Ready;
        }
        Readiness::Wait(Lack::Room)
    }

    #[cold]
    fn outlook_without_candidates(&self) -> Readiness {
        // Before the snapshot: a driver publishes for the last time before it goes.
        let driver_gone = self.driver_gone.load(Ordering::SeqCst);
        let snapshot = self.snapshot.load();
        match (snapshot.endpoints, driver_gone) {
            _ if !snapshot.candidates.is_empty() => Readiness::Ready,
            (0, true) => Readiness::Never(Error::Closed),
            (0, false) => Readiness::Wait(Lack::Endpoints),
            (_, true) => Readiness::Never(snapshot.unavailable()),
            (_, false) => Readiness::Wait(Lack::Eligible),
        }
    }

    /// How long to wait for what is lacking; `None` is indefinitely.
    pub(super) fn patience(&self, lack: Lack) -> Option<Duration> {
        match lack {
            Lack::Room if self.is_limited() => self.config.max_wait,
            _ => self.config.fail_fast,
        }
    }

    /// The error of a request that did not wait until it was there. Takes time in proportion to the
    /// number of endpoints.
    #[cold]
    pub(super) fn error(&self, lack: Lack) -> Error {
        match (lack, self.config.max_outstanding) {
            (Lack::Endpoints, _) => Error::NoEndpoints,
            (Lack::Room, Some(max_outstanding)) => Error::Overloaded { max_outstanding },
            _ => self.snapshot.load().unavailable(),
        }
    }
}

impl<S, P> Drop for Shared<S, P> {
    fn drop(&mut self) {
        self.orphaned.wake();
    }
}
