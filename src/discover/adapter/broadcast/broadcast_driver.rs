use std::{
    fmt,
    future::{Future, poll_fn},
    hash::Hash,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use futures::{future::FusedFuture, task::AtomicWaker};
use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;

use super::{BroadcastError, hub::Hub};
use crate::{
    BoxError,
    discover::{Discover, ErrorBackoff, MAX_UPDATES_PER_POLL},
};

pin_project! {
    /// Polls the source of a [`Broadcast`](super::Broadcast): a future that passes the updates on
    /// to all subscriptions.
    ///
    /// Spawn it, or poll it together with another future. It completes when the source has ended,
    /// or when all handles and subscriptions are dropped. It then drops the source. If it is
    /// dropped before, subscriptions get a [`BroadcastError`](super::BroadcastError) and end.
    ///
    /// After an error of the source, it pauses as the driver of a balancer does: 50 ms, doubled
    /// with each consecutive error up to 10 s. The pause needs a tokio runtime with its timer
    /// enabled.
    #[must_use = "subscribers get no endpoint unless the driver is polled: spawn it"]
    pub struct BroadcastDriver<D: Discover> {
        // `None` once the driver has completed.
        #[pin]
        discover: Option<D>,
        core: Core<D::Key, D::Target>,
    }
}

/// The driver without the source.
struct Core<K, T> {
    hub: Weak<Hub<K, T>>,
    orphaned: Arc<AtomicWaker>,
    backoff: ErrorBackoff,
    finished: bool,
}

/// Why a driver stops to poll the source.
enum Stop {
    /// The source has ended, or there is no subscriber.
    Finished,
    /// The source may have more, but other tasks come first.
    Yield,
}

impl<D: Discover> BroadcastDriver<D> {
    pub(super) fn new(discover: D, hub: &Arc<Hub<D::Key, D::Target>>) -> Self {
        let core = Core {
            hub: Arc::downgrade(hub),
            orphaned: Arc::clone(&hub.orphaned),
            backoff: ErrorBackoff::default(),
            finished: false,
        };
        Self { discover: Some(discover), core }
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Core<K, T> {
    /// Passes on the updates that the source has.
    fn drain<D>(
        &mut self,
        hub: &Hub<K, T>,
        mut discover: Pin<&mut D>,
        cx: &mut Context<'_>,
    ) -> Poll<Stop>
    where
        D: Discover<Key = K, Target = T>,
        D::Error: Into<BoxError>,
    {
        for _ in 0..MAX_UPDATES_PER_POLL {
            ready!(self.backoff.poll_pause(cx));
            // Updates have a budget of their own; tokio's would end a burst after 128 of them.
            let next = poll_fn(|cx| discover.as_mut().poll_discover(cx));
            match ready!(pin!(unconstrained(next)).poll(cx)) {
                None => return Poll::Ready(Stop::Finished),
                Some(Err(error)) => {
                    self.backoff.failed();
                    hub.fail(BroadcastError::of_source(error.into()));
                }
                Some(Ok(update)) => {
                    self.backoff.recovered();
                    hub.apply(update);
                }
            }
        }
        Poll::Ready(Stop::Yield)
    }
}

impl<D> Future for BroadcastDriver<D>
where
    D: Discover,
    D::Key: Clone + Eq + Hash,
    D::Target: Clone,
    D::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let core = this.core;
        // Registered first: a hub that is dropped later wakes this task.
        core.orphaned.register(cx.waker());
        let stop = match (core.hub.upgrade(), this.discover.as_mut().as_pin_mut()) {
            (Some(hub), Some(discover)) => {
                let stop = core.drain(&hub, discover, cx);
                hub.wake();
                stop
            }
            _ => Poll::Ready(Stop::Finished),
        };
        match ready!(stop) {
            Stop::Yield => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Stop::Finished => {
                this.discover.set(None);
                core.finish();
                Poll::Ready(())
            }
        }
    }
}

impl<K, T> Core<K, T> {
    fn finish(&mut self) {
        self.finished = true;
        // Subscriptions may live on for long, and the waker would keep the memory of the driver's
        // task.
        self.orphaned.take();
        if let Some(hub) = self.hub.upgrade() {
            hub.end();
        }
    }
}

impl<D> FusedFuture for BroadcastDriver<D>
where
    D: Discover,
    Self: Future,
{
    fn is_terminated(&self) -> bool {
        self.core.finished
    }
}

impl<K, T> Drop for Core<K, T> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Some(hub) = self.hub.upgrade() {
            tracing::warn!(
                "the driver of a broadcast was dropped; its subscribers see no more changes"
            );
            hub.fail(BroadcastError::driver_dropped());
        }
        self.finish();
    }
}

impl<D: Discover + fmt::Debug> fmt::Debug for BroadcastDriver<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastDriver")
            .field("discover", &self.discover)
            .field("finished", &self.core.finished)
            .finish_non_exhaustive()
    }
}
