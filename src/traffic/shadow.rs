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

use futures::stream::{FuturesUnordered, Stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tower_service::Service;

use crate::{
    BoxError, ConfigError,
    escape::EscapedChain,
    future::LazySleep,
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
struct Shared {
    share: f64,
    seed: AtomicU64,
    sent: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
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
            sent: AtomicU64::default(),
            skipped: AtomicU64::default(),
            failed: AtomicU64::default(),
        });
        let driver = ShadowDriver {
            mirror,
            incoming,
            next: None,
            wait_timer: Box::pin(LazySleep::default()),
            in_flight: FuturesUnordered::new(),
            max_in_flight,
            shared: Arc::clone(&shared),
        };
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

/// How long a copy, and the body that it may hold, waits for the mirror to be ready.
const MAX_READY_WAIT: Duration = Duration::from_secs(1);

/// A future that sends the copies of a [`Shadow`] and drops the responses. It ends
/// with the last clone of the shadow, or when the mirror's `poll_ready` fails.
pub struct ShadowDriver<M: Service<Req>, Req> {
    mirror: M,
    incoming: mpsc::Receiver<(Req, Instant)>,
    /// The copy that waits for the mirror to be ready, and when it was made.
    next: Option<(Req, Instant)>,
    /// Ends the wait of `next`.
    wait_timer: Pin<Box<LazySleep>>,
    in_flight: FuturesUnordered<M::Future>,
    max_in_flight: usize,
    shared: Arc<Shared>,
}

// No field is pinned in place: futures and timer are boxed.
impl<M: Service<Req>, Req> Unpin for ShadowDriver<M, Req> {}

impl<M, Req> Future for ShadowDriver<M, Req>
where
    M: Service<Req>,
    M::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            while let Poll::Ready(Some(result)) = Pin::new(&mut this.in_flight).poll_next(cx) {
                if result.is_err() {
                    this.shared.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            if this.in_flight.len() >= this.max_in_flight {
                // A response in flight has registered the waker.
                return Poll::Pending;
            }
            if this.next.is_none() {
                match this.incoming.poll_recv(cx) {
                    Poll::Ready(Some(copy)) => this.next = Some(copy),
                    Poll::Ready(None) if this.in_flight.is_empty() => return Poll::Ready(()),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
            let is_ready = match this.mirror.poll_ready(cx) {
                Poll::Ready(Err(error)) => {
                    tracing::error!(
                        error = %EscapedChain(&*error.into()),
                        "the mirror service of a shadow failed, so no more copies are sent",
                    );
                    return Poll::Ready(());
                }
                ready => ready.is_ready(),
            };
            if let (false, Some((_, made))) = (is_ready, &this.next) {
                // By the copy's own age: the time that it waited in the channel counts.
                let until = *made + MAX_READY_WAIT;
                ready!(this.wait_timer.as_mut().poll(cx, || sleep_until(until)));
            }
            this.wait_timer.as_mut().stop();
            match this.next.take() {
                Some((copy, _)) if is_ready => {
                    this.shared.sent.fetch_add(1, Ordering::Relaxed);
                    this.in_flight.push(this.mirror.call(copy));
                }
                _ => _ = this.shared.skipped.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
}

impl<M: Service<Req>, Req> fmt::Debug for ShadowDriver<M, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowDriver")
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
