use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::stream::{FuturesUnordered, Stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tower_service::Service;

use super::service::Shared;
use crate::{BoxError, escape::EscapedChain, future::LazySleep};

/// How long a copy, and the body that it may hold, waits for the mirror to be ready.
const MAX_READY_WAIT: Duration = Duration::from_secs(1);

/// A future that sends the copies of a [`Shadow`](super::Shadow) and drops the responses. It ends
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

impl<M: Service<Req>, Req> ShadowDriver<M, Req> {
    pub(super) fn new(
        mirror: M,
        incoming: mpsc::Receiver<(Req, Instant)>,
        max_in_flight: usize,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            mirror,
            incoming,
            next: None,
            wait_timer: Box::pin(LazySleep::default()),
            in_flight: FuturesUnordered::new(),
            max_in_flight,
            shared,
        }
    }
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
