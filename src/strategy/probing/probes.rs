use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{
    endpoint::{WaitQueue, Watch},
    strategy::wakers::{Registration, Wakers},
};

/// Lets requests wait for the probes of a [`Probed`](crate::strategy::Probed) or
/// [`Prequal`](crate::strategy::Prequal) strategy before they are balanced. A pick itself cannot
/// wait.
///
/// [`AwaitProbes`](crate::strategy::AwaitProbes) does so as a middleware. Clones of the strategy
/// share their `Probes`, and each probes its own endpoints. To send fewer probes, put `Probed`
/// around wrappers that divide the endpoints ([`ZoneAware`](crate::strategy::ZoneAware),
/// [`Tiers`](crate::strategy::Tiers)), not inside them.
#[derive(Clone, Debug)]
pub struct Probes {
    rounds: Arc<Rounds>,
    source: Weak<ProbeSource>,
}

/// The strategy's side of the rounds, shared by its clones. When the last is dropped, waiting ends.
#[derive(Debug)]
pub(super) struct ProbeSource {
    rounds: Arc<Rounds>,
}

/// How many endpoints a round probes. It ends when all but one have answered, so that one stalled
/// endpoint delays no request.
const PROBES_PER_ROUND: usize = 3;
/// The time without waiting after a futile wait, so that probes which all fail or time out do not
/// delay every request.
const FUTILE_PAUSE: Duration = Duration::from_secs(1);

/// The rounds of probes that requests wait for, numbered from 1. At most one is in progress, for
/// all waiting requests.
///
/// A round is in progress while `finished` is below `requested`. Both use `SeqCst`: a request that
/// requests a round and the driver that serves it each write one and read the other.
#[derive(Debug)]
struct Rounds {
    /// The latest round that was requested.
    requested: AtomicU64,
    /// The latest round that has ended.
    finished: AtomicU64,
    epoch: Instant,
    /// When the last answer came, in nanoseconds since `epoch`; 0 before the first.
    last_answer: AtomicU64,
    /// When a wait last ended without an answer, in the same units.
    last_futile_wait: AtomicU64,
    waiting: Arc<WaitQueue>,
    drivers: Wakers,
}

impl Probes {
    /// Returns true if a request need not, or should not, wait. That is the case if
    ///
    /// - the last answer to a probe is at most `max_age` old, and no round is in progress;
    /// - a wait ended without an answer within the last second; or
    /// - the strategy was dropped.
    #[must_use]
    pub fn is_fresh(&self, max_age: Duration) -> bool {
        let now = self.rounds.nanos();
        let is_within = |event: &AtomicU64, age: Duration| {
            let at = event.load(Ordering::Relaxed);
            at > 0 && u128::from(now.saturating_sub(at)) <= age.as_nanos()
        };
        self.source.strong_count() == 0
            || is_within(&self.rounds.last_futile_wait, FUTILE_PAUSE)
            || !self.rounds.is_in_progress() && is_within(&self.rounds.last_answer, max_age)
    }

    /// Waits until answers [are fresh](Self::is_fresh).
    ///
    /// If they are not, three endpoints are probed. The future then resolves when two have
    /// answered, when all three have answered or failed, or after `max_wait`, whichever is first.
    /// Requests that wait at the same time wait for the same answers. For a second after a wait in
    /// which no endpoint answered, or that took `max_wait`, no request waits.
    ///
    /// These probes count for later requests: each replaces one that a later request would have
    /// caused.
    ///
    /// The balancer's driver sends the probes. While the driver is not polled, only `max_wait` ends
    /// the wait.
    #[must_use]
    pub fn fresh(&self, max_age: Duration, max_wait: Duration) -> Fresh {
        Fresh { probes: self.clone(), max_age, max_wait, wait: None }
    }
}

impl ProbeSource {
    pub(super) fn new() -> Arc<Self> {
        let rounds = Arc::new(Rounds {
            requested: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            epoch: Instant::now(),
            last_answer: AtomicU64::new(0),
            last_futile_wait: AtomicU64::new(0),
            waiting: Arc::default(),
            drivers: Wakers::default(),
        });
        Arc::new(Self { rounds })
    }

    pub(super) fn probes(self: &Arc<Self>) -> Probes {
        Probes { rounds: Arc::clone(&self.rounds), source: Arc::downgrade(self) }
    }

    /// Records that an endpoint has answered.
    pub(super) fn record_answer(&self) {
        self.rounds.last_answer.store(self.rounds.nanos(), Ordering::Relaxed);
    }

    /// Registers a driver, which is woken when a round is requested.
    pub(super) fn registration(&self) -> Registration {
        self.rounds.drivers.registration()
    }

    /// Returns the number of the latest round that was requested.
    pub(super) fn latest_requested(&self) -> u64 {
        self.rounds.requested.load(Ordering::SeqCst)
    }

    /// Starts round `number`, with at most `max_probes` probes.
    pub(super) fn start(&self, number: u64, max_probes: usize) -> Round {
        let (rounds, probes) = (Arc::clone(&self.rounds), PROBES_PER_ROUND.min(max_probes));
        Round { rounds, number, probes, ended: 0, answers: 0 }
    }
}

impl Rounds {
    /// Returns the nanoseconds since the epoch, at least 1: 0 stands for "never".
    fn nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn is_in_progress(&self) -> bool {
        self.finished.load(Ordering::SeqCst) < self.requested.load(Ordering::SeqCst)
    }

    /// Returns the number of the round in progress. Requests one if no round is in progress.
    fn request(&self) -> u64 {
        let finished = self.finished.load(Ordering::SeqCst);
        let next = finished + 1;
        // Of several requests at a time, one succeeds; the others wait for the same round.
        match self.requested.compare_exchange(finished, next, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                self.drivers.wake();
                next
            }
            Err(requested) => requested,
        }
    }

    /// Ends a round and wakes the requests that wait for it. Has no effect if it has ended before:
    /// the driver, and each request whose `max_wait` is over, may end it.
    fn finish(&self, number: u64, futile: bool) {
        if self.finished.fetch_max(number, Ordering::SeqCst) < number {
            if futile {
                self.last_futile_wait.store(self.nanos(), Ordering::Relaxed);
            }
            self.waiting.changed();
        }
    }
}

impl Drop for ProbeSource {
    fn drop(&mut self) {
        self.rounds.finish(self.latest_requested(), false);
    }
}

/// A round of probes in progress. When it is dropped, the requests that wait for it continue.
#[derive(Debug)]
pub(super) struct Round {
    rounds: Arc<Rounds>,
    number: u64,
    /// How many endpoints are probed.
    pub(super) probes: usize,
    /// How many probes have been answered or have failed.
    ended: usize,
    answers: usize,
}

impl Round {
    /// Returns the number, which distinguishes its probes from late ones of an earlier round.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Records the end of one probe.
    pub(super) fn record_end(&mut self, has_answered: bool) {
        self.ended += 1;
        self.answers += usize::from(has_answered);
    }

    pub(super) fn is_over(&self) -> bool {
        let enough = self.probes.saturating_sub(1).max(1);
        self.ended >= self.probes || self.answers >= enough
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        // A round without probes (there were no endpoints, or too many probes in flight) is not
        // futile.
        self.rounds.finish(self.number, self.probes > 0 && self.answers == 0);
    }
}

/// Waits until the answers to probes are [fresh](Probes::fresh).
#[derive(Debug)]
pub struct Fresh {
    probes: Probes,
    max_age: Duration,
    max_wait: Duration,
    wait: Option<Wait>,
}

/// The state of a request that waits for a round.
#[derive(Debug)]
struct Wait {
    watch: Watch,
    round: u64,
    timer: Pin<Box<Sleep>>,
}

impl Future for Fresh {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.wait.is_none() && this.probes.is_fresh(this.max_age) {
            return Poll::Ready(());
        }
        let Probes { rounds, source } = &this.probes;
        let wait = this.wait.get_or_insert_with(|| Wait {
            watch: Watch::for_change(Arc::clone(&rounds.waiting)),
            round: rounds.request(),
            timer: Box::pin(sleep(this.max_wait)),
        });
        // Registered before `finished` is read: a round that ends after the read wakes this task.
        wait.watch.register(cx.waker());
        let is_over = rounds.finished.load(Ordering::SeqCst) >= wait.round;
        if !is_over && source.strong_count() > 0 {
            ready!(wait.timer.as_mut().poll(cx));
            rounds.finish(wait.round, true);
        }
        Poll::Ready(())
    }
}
