use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{sync::mpsc, time::Instant};
use tower_service::Service;

use super::ShadowDriver;
use crate::{
    ConfigError,
    retry::{RetrySafety, RetryableRequest},
    rng::Rng,
};

/// Sends copies of a share of the requests to another service, and ignores its responses.
///
/// The [`ShadowDriver`] sends the copies. Only requests that are
/// [`Idempotent`](RetrySafety::Idempotent) are copied. A copy is skipped if too many copies are in
/// flight, or if the other service is not ready within a second: requests themselves never wait.
#[derive(Debug)]
pub struct Shadow<S, Req> {
    inner: S,
    copies: mpsc::Sender<(Req, Instant)>,
    shared: Arc<Shared>,
    rng: Rng,
}

/// State of a shadow, its clones and its driver.
#[derive(Debug)]
pub(super) struct Shared {
    share: f64,
    seed: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Counts the copies by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Copies that were sent.
    pub sent: u64,
    /// Copies that were not sent, because too many were in flight or the other service was not
    /// ready.
    pub skipped: u64,
    /// Copies that were sent, and failed with an error.
    pub failed: u64,
}

impl<S, Req> Shadow<S, Req> {
    /// Sends copies of `share` of the requests to `mirror`. At most `max_in_flight` copies are in
    /// flight at a time, and as many wait.
    ///
    /// Spawn the driver: it sends the copies, and ends when the last clone of the shadow is
    /// dropped.
    ///
    /// # Errors
    ///
    /// If `share` is not from 0 to 1, or `max_in_flight` is 0.
    pub fn new<M>(
        inner: S,
        mirror: M,
        share: f64,
        max_in_flight: usize,
    ) -> Result<(Self, ShadowDriver<M, Req>), ConfigError>
    where
        M: Service<Req>,
    {
        ConfigError::unless_within("share", share, [0.0, 1.0])?;
        ConfigError::if_zero("max_in_flight", max_in_flight as u64)?;
        let (copies, incoming) = mpsc::channel(max_in_flight);
        let shared = Arc::new(Shared {
            share,
            seed: AtomicU64::new(Rng::from_entropy().bits()),
            sent: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let driver = ShadowDriver::new(mirror, incoming, max_in_flight, Arc::clone(&shared));
        Ok((Self::from_parts(inner, copies, shared), driver))
    }

    fn from_parts(inner: S, copies: mpsc::Sender<(Req, Instant)>, shared: Arc<Shared>) -> Self {
        let rng = Rng::seeded(shared.seed.fetch_add(1, Ordering::Relaxed));
        Self { inner, copies, shared, rng }
    }

    /// Returns the counts of copies so far, of all clones together.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            sent: self.shared.sent.load(Ordering::Relaxed),
            skipped: self.shared.skipped.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }
}

impl<S: Clone, Req> Clone for Shadow<S, Req> {
    /// The clone draws its own random numbers.
    fn clone(&self) -> Self {
        Self::from_parts(self.inner.clone(), self.copies.clone(), Arc::clone(&self.shared))
    }
}

impl<S, Req> Service<Req> for Shadow<S, Req>
where
    S: Service<Req>,
    Req: RetryableRequest,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        if request.retry_safety() == RetrySafety::Idempotent && self.rng.unit() < self.shared.share
        {
            // A slot in the channel is reserved first, so that no copy is made in vain.
            let slot = self.copies.try_reserve();
            match slot.ok().and_then(|slot| Some((slot, request.try_clone()?))) {
                Some((slot, mut copy)) => {
                    // The copy gets its own attempts: it must not make endpoints count as tried by
                    // the request.
                    if let Some(attempts) = copy.attempts() {
                        let separate = attempts.with_same_deadline();
                        copy.carry(separate);
                    }
                    slot.send((copy, Instant::now()));
                }
                None => _ = self.shared.skipped.fetch_add(1, Ordering::Relaxed),
            }
        }
        self.inner.call(request)
    }
}
