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
    BoxError, InvalidConfig,
    escape::EscapedChain,
    future::LazySleep,
    retry::{RetrySafety, RetryableRequest},
    strategy::Rng,
};

/// Sends copies of a share of the requests to another service, whose answers nobody waits for.
///
/// The copies are sent by the [`ShadowDriver`]. Only requests that are
/// [`Idempotent`](RetrySafety::Idempotent) are copied. If too many copies are in flight, or the other service
/// is not ready for a second, copies are left out: the requests themselves never wait.
#[derive(Debug)]
pub struct Shadow<S, Req> {
    inner: S,
    copies: mpsc::Sender<(Req, Instant)>,
    shared: Arc<Shared>,
    rng: Rng,
}

/// How long a copy, and the body that it may hold, waits for the other service to be ready.
const MAX_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Shared {
    share: f64,
    seed: AtomicU64,
    sent: AtomicU64,
    left_out: AtomicU64,
    failed: AtomicU64,
}

/// What became of the copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// Sent.
    pub sent: u64,
    /// Not sent, because too many were in flight, or the other service was not ready.
    pub left_out: u64,
    /// Sent, and answered by an error.
    pub failed: u64,
}

impl<S, Req> Shadow<S, Req> {
    /// Sends copies of `share` of the requests to `mirror`. At most `max_under_way` copies are in
    /// flight at a time, and as many wait. The driver must be polled for it: spawn it. It ends with
    /// the last clone of the shadow.
    ///
    /// # Errors
    ///
    /// If the share is not between 0 and 1, or nothing may be under way.
    pub fn new<M>(
        inner: S,
        mirror: M,
        share: f64,
        max_under_way: usize,
    ) -> Result<(Self, ShadowDriver<M, Req>), InvalidConfig>
    where
        M: Service<Req>,
    {
        InvalidConfig::unless(
            (0.0..=1.0).contains(&share),
            "the shadow's share is not between 0 and 1: set the share of requests that is copied",
        )?;
        InvalidConfig::unless(
            max_under_way > 0,
            "a shadow with nothing under way copies nothing: set how many copies may be",
        )?;
        let (copies, incoming) = mpsc::channel(max_under_way);
        let shared = Arc::new(Shared {
            share,
            seed: AtomicU64::new(Rng::from_entropy().bits()),
            sent: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let driver = ShadowDriver {
            mirror,
            incoming,
            next: None,
            patience: Box::pin(LazySleep::default()),
            under_way: FuturesUnordered::new(),
            max_under_way,
            shared: Arc::clone(&shared),
        };
        Ok((Self::from_parts(inner, copies, shared), driver))
    }

    fn from_parts(inner: S, copies: mpsc::Sender<(Req, Instant)>, shared: Arc<Shared>) -> Self {
        let rng = Rng::seeded(shared.seed.fetch_add(1, Ordering::Relaxed));
        Self { inner, copies, shared, rng }
    }

    /// What became of the copies so far.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            sent: self.shared.sent.load(Ordering::Relaxed),
            left_out: self.shared.left_out.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }
}

impl<S: Clone, Req> Clone for Shadow<S, Req> {
    /// Draws numbers of its own.
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
            let place = self.copies.try_reserve();
            match place.ok().and_then(|place| Some((place, request.try_clone()?))) {
                Some((place, mut copy)) => {
                    // What becomes of the copy is nothing that the request's own attempts should know.
                    if let Some(attempts) = copy.attempts() {
                        let apart = attempts.with_same_deadline();
                        copy.carry(apart);
                    }
                    place.send((copy, Instant::now()));
                }
                None => _ = self.shared.left_out.fetch_add(1, Ordering::Relaxed),
            }
        }
        self.inner.call(request)
    }
}

/// Sends the copies of a [`Shadow`], and takes the answers; a future that ends with the last shadow.
pub struct ShadowDriver<M: Service<Req>, Req> {
    mirror: M,
    incoming: mpsc::Receiver<(Req, Instant)>,
    /// Waits for the mirror to be ready, since when.
    next: Option<(Req, Instant)>,
    /// When it has waited long enough.
    patience: Pin<Box<LazySleep>>,
    under_way: FuturesUnordered<M::Future>,
    max_under_way: usize,
    shared: Arc<Shared>,
}

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
            while let Poll::Ready(Some(result)) = Pin::new(&mut this.under_way).poll_next(cx) {
                if result.is_err() {
                    this.shared.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            if this.under_way.len() >= this.max_under_way {
                return Poll::Pending;
            }
            if this.next.is_none() {
                match this.incoming.poll_recv(cx) {
                    Poll::Ready(Some(copy)) => this.next = Some(copy),
                    Poll::Ready(None) if this.under_way.is_empty() => return Poll::Ready(()),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
            let is_ready = match this.mirror.poll_ready(cx) {
                Poll::Ready(Err(error)) => {
                    tracing::error!(error = %EscapedChain(&*error.into()), "a shadow's mirror is gone");
                    return Poll::Ready(());
                }
                ready => ready.is_ready(),
            };
            if let (false, Some((_, since))) = (is_ready, &this.next) {
                let until = *since + MAX_WAIT;
                ready!(this.patience.as_mut().poll(cx, || sleep_until(until)));
            }
            this.patience.as_mut().stop();
            match this.next.take() {
                Some((copy, _)) if is_ready => {
                    this.shared.sent.fetch_add(1, Ordering::Relaxed);
                    this.under_way.push(this.mirror.call(copy));
                }
                _ => _ = this.shared.left_out.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
}

impl<M: Service<Req>, Req> fmt::Debug for ShadowDriver<M, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShadowDriver")
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}
