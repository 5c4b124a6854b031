use std::{
    fmt,
    future::{Future, poll_fn},
    hash::Hash,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{future::FusedFuture, task::AtomicWaker};
use pin_project_lite::pin_project;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    DriverState,
    endpoint_set::{EndpointHooks, EndpointSet},
    shared::{Config, Shared},
    snapshot::Snapshot,
};
use crate::{
    BoxError,
    discover::Discover,
    endpoint::Slots,
    escape::{Escaped, EscapedChain},
    strategy::{BuildContext, Built, Strategy},
};

/// Updates applied in one poll, so that a source with millions of them doesn't hold the thread.
const UPDATES_PER_POLL: usize = 2048;
/// How long a stream that failed is left alone; doubles with each failure in a row.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

pin_project! {
    /// Keeps a balancer up to date: a future that drains the stream of endpoints and publishes a
    /// snapshot after each burst of changes, whether requests come or not.
    ///
    /// Spawn it, or poll it along with something else. It ends when the last balancer is dropped, or
    /// when the stream ends and the strategy has no work of its own; balancers go on with the
    /// last endpoints then, as they do if it is dropped, and say so in their
    /// [`status`](super::Balancer::status).
    ///
    /// An error of the stream changes nothing but the status; the stream is polled again after a
    /// pause of 50 ms, then twice as long each time, up to 10 s; after one that was quiet for longer
    /// than the last pause, as sources are that pace themselves, it is 50 ms again. One poll applies at
    /// most 2048 updates. That pause, and strategies with work between requests, need a
    /// tokio runtime with its timer enabled around the poll.
    #[must_use = "a balancer learns of no endpoint unless its driver is polled: spawn it"]
    pub struct Driver<D, St>
    where
        D: Discover,
        St: Strategy,
    {
        #[pin]
        discover: D,
        core: Core<D::Key, D::Target, St>,
    }
}

/// All of the driver but the stream.
struct Core<K, S, St: Strategy> {
    strategy: St,
    /// After what the strategy wants to build a new picker.
    events: BuildContext,
    endpoint_set: EndpointSet<K, S>,
    shared: Weak<Shared<S, St::Picker>>,
    orphaned: Arc<AtomicWaker>,
    /// The roster has changed since the last snapshot.
    changed: bool,
    version: u64,
    stream_ended: bool,
    failures: u32,
    backoff: Option<Pin<Box<Sleep>>>,
    /// When the next error, if it comes by then, follows on the last.
    in_a_row_until: Option<Instant>,
    finished: bool,
}

impl<D, St> Driver<D, St>
where
    D: Discover,
    D::Key: fmt::Display + Eq + Hash,
    D::Target: Clone,
    St: Strategy,
{
    pub(super) fn new(
        mut strategy: St,
        discover: D,
        config: Config,
        seed: u64,
    ) -> (Arc<Shared<D::Target, St::Picker>>, Self) {
        let endpoint_set = EndpointSet::new();
        let mut events = BuildContext::new();
        let snapshot = snapshot(&mut strategy, &mut events, &endpoint_set, 0);
        let orphaned = Arc::new(AtomicWaker::new());
        let shared = Shared::new(snapshot, config, seed, Arc::clone(&orphaned));
        let shared = Arc::new(shared);
        let core = Core {
            strategy,
            events,
            endpoint_set,
            shared: Arc::downgrade(&shared),
            orphaned,
            changed: false,
            version: 0,
            stream_ended: false,
            failures: 0,
            backoff: None,
            in_a_row_until: None,
            finished: false,
        };
        (shared, Self { discover, core })
    }
}

fn snapshot<K, S, St>(
    strategy: &mut St,
    events: &mut BuildContext,
    endpoint_set: &EndpointSet<K, S>,
    version: u64,
) -> Snapshot<S, St::Picker>
where
    K: fmt::Display + Eq + Hash,
    S: Clone,
    St: Strategy,
{
    let candidates = endpoint_set.candidates();
    let Built { picker, eligible, notices } = strategy.build(&candidates, events);
    Snapshot {
        picker,
        candidates: eligible.restored(&candidates),
        services: endpoint_set.services(),
        endpoints: endpoint_set.len(),
        timed: endpoint_set.is_timed(),
        rationed: endpoint_set.is_rationed(),
        notices: notices.iter().map(|notice| Escaped(notice).to_string()).collect(),
        version,
    }
}

impl<K, S, St> Core<K, S, St>
where
    K: fmt::Display + Eq + Hash,
    S: Clone,
    St: Strategy,
{
    /// Applies what the stream has. Ready if the driver should be polled again at once.
    fn drain<D>(&mut self, mut discover: Pin<&mut D>, cx: &mut Context<'_>) -> Poll<()>
    where
        D: Discover<Key = K, Target = S>,
        D::Error: Into<BoxError>,
    {
        for _ in 0..UPDATES_PER_POLL {
            if self.stream_ended {
                return Poll::Pending;
            }
            if let Some(backoff) = &mut self.backoff {
                ready!(backoff.as_mut().poll(cx));
                self.backoff = None;
            }
            // The budget of updates is ours: tokio's own would end a burst after 128 of them.
            let next = poll_fn(|cx| discover.as_mut().poll_discover(cx));
            match ready!(pin!(unconstrained(next)).poll(cx)) {
                None => self.stream_ended = true,
                Some(Err(error)) => self.failed(error.into()),
                Some(Ok(update)) => {
                    self.recovered();
                    let Some(shared) = self.shared.upgrade() else {
                        return Poll::Pending;
                    };
                    let (strategy, limit) = (&self.strategy, shared.config.max_outstanding);
                    let slots = |limit| Arc::new(Slots::new(limit, Arc::clone(&shared.queue)));
                    self.changed |= self.endpoint_set.apply(update, &shared.queue, || {
                        EndpointHooks { meter: strategy.meter(), slots: limit.map(slots) }
                    });
                }
            }
        }
        Poll::Ready(())
    }

    fn failed(&mut self, error: BoxError) {
        tracing::warn!(error = %EscapedChain(&*error), "the stream of endpoints failed; going on with those known");
        let now = Instant::now();
        if self.in_a_row_until.is_some_and(|until| until < now) {
            self.failures = 0;
        }
        let backoff = SHORTEST_BACKOFF.saturating_mul(1 << self.failures.min(16));
        let backoff = backoff.min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.backoff = Some(Box::pin(sleep_until(now + backoff)));
        self.in_a_row_until = Some(now + backoff + backoff);
        self.report(|status| {
            status.errors += 1;
            status.last_error = Some(error.into());
        });
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.report(|status| status.last_error = None);
        }
    }

    fn publish(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        self.changed = false;
        self.version += 1;
        // Those of the last picker go when the new one is built, so that the strategy can hand on what
        // they share.
        let mut events = BuildContext::new();
        let snapshot = snapshot(&mut self.strategy, &mut events, &self.endpoint_set, self.version);
        self.events = events;
        tracing::trace!(version = self.version, endpoints = self.endpoint_set.len(), "published");
        shared.publish(snapshot);
    }
}

impl<K, S, St: Strategy> Core<K, S, St> {
    fn report(&self, update: impl FnOnce(&mut super::DriverStatus)) {
        if let Some(shared) = self.shared.upgrade() {
            shared.update_driver_status(update);
        }
    }

    fn finish(&mut self, state: DriverState) {
        self.finished = true;
        // The balancers may go on for long; this would keep the memory of the driver's task.
        self.orphaned.take();
        if let Some(shared) = self.shared.upgrade() {
            shared.update_driver_status(|status| status.state = state);
            shared.driver_gone();
        }
    }
}

impl<D, St> Future for Driver<D, St>
where
    D: Discover,
    D::Key: fmt::Display + Eq + Hash,
    D::Target: Clone,
    D::Error: Into<BoxError>,
    St: Strategy,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let core = this.core;
        if core.finished {
            return Poll::Ready(());
        }
        core.orphaned.register(cx.waker());
        if core.shared.strong_count() == 0 {
            core.finished = true;
            return Poll::Ready(());
        }
        let mut more = core.drain(this.discover, cx).is_ready();
        let mut rebuild = core.events.poll_rebuild(cx);
        if core.changed || rebuild == Poll::Ready(Some(())) {
            core.publish();
            // The new picker's events have not been polled yet, so nothing would wake for them.
            rebuild = core.events.poll_rebuild(cx);
            core.changed |= rebuild == Poll::Ready(Some(()));
            more |= core.changed;
        }
        let idle = rebuild == Poll::Ready(None);
        if more {
            cx.waker().wake_by_ref();
        } else if core.stream_ended && idle {
            tracing::debug!("the stream of endpoints has ended; the last are kept");
            core.finish(DriverState::Ended);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<D, St> FusedFuture for Driver<D, St>
where
    D: Discover,
    St: Strategy,
    Self: Future,
{
    fn is_terminated(&self) -> bool {
        self.core.finished
    }
}

impl<K, S, St: Strategy> Drop for Core<K, S, St> {
    fn drop(&mut self) {
        if !self.finished && self.shared.strong_count() > 0 {
            tracing::warn!("the driver was dropped; its balancers learn of no more changes");
            self.finish(DriverState::Dropped);
        }
    }
}

impl<D, St> fmt::Debug for Driver<D, St>
where
    D: Discover + fmt::Debug,
    St: Strategy + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("discover", &self.discover)
            .field("strategy", &self.core.strategy)
            .field("version", &self.core.version)
            .field("finished", &self.core.finished)
            .finish_non_exhaustive()
    }
}
