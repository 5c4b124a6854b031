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

use super::{
    DriverState,
    endpoint_set::{EndpointHooks, EndpointSet},
    history::Change,
    shared::{Config, Shared},
    snapshot::Snapshot,
};
use crate::{
    BoxError,
    discover::{Discover, ErrorBackoff, MAX_UPDATES_PER_POLL},
    endpoint::Slots,
    escape::{Escaped, EscapedChain},
    strategy::{BuildContext, Built, Strategy},
};

pin_project! {
    /// Keeps a balancer up to date: a future that drains the stream of endpoints and publishes a
    /// snapshot after each burst of changes, whether requests come or not.
    ///
    /// Spawn it, or poll it together with another future. It completes when the last balancer is
    /// dropped, or when the stream has ended and the strategy has no work of its own. If it
    /// completes or is dropped, balancers keep the last endpoints, and their
    /// [`status`](super::Balancer::status) shows it.
    ///
    /// An error of the stream changes only the status. The stream is polled again after a pause of
    /// 50 ms, which doubles with each consecutive error up to 10 s. An error is not consecutive if
    /// the stream, as sources with a schedule of their own do, yields it later than one more pause
    /// after the last one. One poll applies at most 2048 updates.
    ///
    /// The pause, and strategies with work between requests, need a tokio runtime with its timer
    /// enabled around the poll.
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

/// The driver without the stream.
struct Core<K, S, St: Strategy> {
    strategy: St,
    /// The events after which the strategy builds a new picker.
    events: BuildContext,
    endpoint_set: EndpointSet<K, S>,
    shared: Weak<Shared<S, St::Picker>>,
    orphaned: Arc<AtomicWaker>,
    /// The endpoints have changed since the last snapshot.
    changed: bool,
    version: u64,
    stream_ended: bool,
    backoff: ErrorBackoff,
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
        let endpoint_set = EndpointSet::new(config.name.clone());
        let mut events = BuildContext::for_balancer(config.name.clone());
        let snapshot = snapshot(&mut strategy, &mut events, &endpoint_set, 0);
        let orphaned = Arc::new(AtomicWaker::new());
        let shared = Shared::new(snapshot, config, seed, Arc::clone(&orphaned));
        let shared = Arc::new(shared);
        let notices = Arc::clone(&shared.snapshot.load().notices);
        shared.record(notices.iter().map(|notice| Change::Notice(notice.as_str().into())));
        let core = Core {
            strategy,
            events,
            endpoint_set,
            shared: Arc::downgrade(&shared),
            orphaned,
            changed: false,
            version: 0,
            stream_ended: false,
            backoff: ErrorBackoff::default(),
            finished: false,
        };
        (shared, Self { discover, core })
    }
}

/// Returns whether two notices differ in their figures at most.
fn is_like(one: &str, other: &str) -> bool {
    let words = |notice: &str| -> String {
        notice
            .chars()
            .filter(|character| !character.is_ascii_digit() && *character != '.')
            .collect()
    };
    words(one) == words(other)
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
    let built = strategy.build(&candidates, events);
    let rules = built.rules();
    let Built { picker, eligible, notices, .. } = built;
    let candidates = eligible.restored(&candidates);
    Snapshot {
        picker,
        is_single: candidates.len() <= 1,
        candidates,
        services: endpoint_set.services(),
        endpoints: endpoint_set.len(),
        timed: endpoint_set.is_timed(),
        limited: endpoint_set.is_limited(),
        notices: notices.iter().map(|notice| Escaped(notice).to_string()).collect(),
        rules,
        version,
    }
}

impl<K, S, St> Core<K, S, St>
where
    K: fmt::Display + Eq + Hash,
    S: Clone,
    St: Strategy,
{
    /// Applies the updates that the stream has. Returns ready if the driver should be polled again
    /// at once.
    fn drain<D>(&mut self, mut discover: Pin<&mut D>, cx: &mut Context<'_>) -> Poll<()>
    where
        D: Discover<Key = K, Target = S>,
        D::Error: Into<BoxError>,
    {
        for _ in 0..MAX_UPDATES_PER_POLL {
            if self.stream_ended {
                return Poll::Pending;
            }
            ready!(self.backoff.poll_pause(cx));
            // Updates have a budget of their own; tokio's would end a burst after 128 of them.
            let next = poll_fn(|cx| discover.as_mut().poll_discover(cx));
            match ready!(pin!(unconstrained(next)).poll(cx)) {
                None => self.stream_ended = true,
                Some(Err(error)) => self.failed(error.into()),
                Some(Ok(update)) => {
                    self.recovered();
                    let Some(shared) = self.shared.upgrade() else {
                        return Poll::Pending;
                    };
                    let (strategy, config) = (&self.strategy, &shared.config);
                    let slots = |limit| Arc::new(Slots::new(limit, Arc::clone(&shared.queue)));
                    self.changed |=
                        self.endpoint_set.apply(update, &shared.queue, || EndpointHooks {
                            meter: strategy.meter(),
                            slots: config.max_outstanding.map(slots),
                            observation: shared.observation(),
                        });
                }
            }
        }
        Poll::Ready(())
    }

    fn failed(&mut self, error: BoxError) {
        if let Some(shared) = self.shared.upgrade() {
            tracing::warn!(
                balancer = shared.config.name.as_deref(),
                error = %EscapedChain(&*error),
                "the stream of endpoints failed; the known endpoints stay"
            );
            shared.record([Change::SourceFailed(EscapedChain(&*error).to_string().into())]);
        }
        self.backoff.failed();
        self.report(|status| {
            status.errors += 1;
            status.last_error = Some(error.into());
        });
    }

    fn recovered(&mut self) {
        if self.backoff.recovered() {
            self.report(|status| status.last_error = None);
            if let Some(shared) = self.shared.upgrade() {
                shared.record([Change::SourceRecovered]);
            }
        }
    }

    fn publish(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        self.changed = false;
        self.version += 1;
        // The events of the last picker are dropped after the new one is built, so that the
        // strategy can hand on the state that they share.
        let mut events = BuildContext::for_balancer(shared.config.name.clone());
        let snapshot = snapshot(&mut self.strategy, &mut events, &self.endpoint_set, self.version);
        self.events = events;
        let before = Arc::clone(&shared.snapshot.load().notices);
        // A notice with other figures is the same one.
        let has =
            |notices: &[String], notice: &String| notices.iter().any(|one| is_like(one, notice));
        let gone = before.iter().filter(|notice| !has(&snapshot.notices, notice));
        let new = snapshot.notices.iter().filter(|notice| !has(&before, notice));
        let ended = gone.map(|notice| Change::NoticeEnded(notice.as_str().into()));
        let begun = new.map(|notice| Change::Notice(notice.as_str().into()));
        shared.record(self.endpoint_set.take_changes().chain(ended).chain(begun));
        tracing::trace!(
            balancer = shared.config.name.as_deref(),
            version = self.version,
            endpoints = self.endpoint_set.len(),
            "snapshot published"
        );
        shared.publish(snapshot);
    }
}

impl<K, S, St: Strategy> Core<K, S, St> {
    fn report(&self, update: impl FnOnce(&mut super::DriverStatus)) {
        if let Some(shared) = self.shared.upgrade() {
            shared.update_driver_status(update);
        }
    }

    /// Returns the name of the balancer, if it has one.
    fn name(&self) -> Option<Arc<str>> {
        self.shared.upgrade()?.config.name.clone()
    }

    fn finish(&mut self, state: DriverState) {
        self.finished = true;
        // The balancers may live on for long, and the waker would keep the memory of the driver's
        // task.
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
            // Polls the events of the new picker, which otherwise have no waker registered.
            rebuild = core.events.poll_rebuild(cx);
            core.changed |= rebuild == Poll::Ready(Some(()));
            more |= core.changed;
        }
        let idle = rebuild == Poll::Ready(None);
        if more {
            cx.waker().wake_by_ref();
        } else if core.stream_ended && idle {
            tracing::debug!(balancer = core.name().as_deref(), "the list of endpoints is complete");
            core.finish(DriverState::Complete);
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
            tracing::warn!(
                balancer = self.name().as_deref(),
                "the driver was dropped; its balancers see no more changes of the endpoints"
            );
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
