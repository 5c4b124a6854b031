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

/// The probes of a [`Probed`](crate::strategy::Probed) strategy or a [`Prequal`](crate::strategy::Prequal), for who wants to
/// wait for them: a pick can't, but whoever sends requests can, before the pick.
///
/// [`AwaitProbes`](crate::strategy::AwaitProbes) does so for services. Clones of the strategy share it, and each
/// asks its own endpoints: put `Probed` around wrappers that divide them ([`ZoneAware`](crate::strategy::ZoneAware),
/// [`Tiers`](crate::strategy::Tiers)), not within, and fewer are asked.
#[derive(Clone, Debug)]
pub struct Probes {
    rounds: Arc<Rounds>,
    asker: Weak<Asker>,
}

/// The side of the strategy and its clones, which send the probes.
#[derive(Debug)]
pub(super) struct Asker {
    rounds: Arc<Rounds>,
}

/// How many endpoints a round asks. All answers but one end it, so that one that stands still holds
/// nobody up.
const ASKED: usize = 3;
/// How long nobody waits after it was in vain: probes that all fail or take too long must not make
/// each request wait.
const PAUSE: Duration = Duration::from_secs(1);

/// Rounds of probes that requests wait for, numbered from 1. One is under way at a time, for all of them.
#[derive(Debug)]
struct Rounds {
    /// The latest that was asked for.
    asked: AtomicU64,
    /// The latest that is over.
    finished: AtomicU64,
    epoch: Instant,
    /// When the last answer came, in nanoseconds since the epoch; 0 if none ever did.
    answered: AtomicU64,
    /// When waiting was last found to be in vain; the same.
    in_vain: AtomicU64,
    waiting: Arc<WaitQueue>,
    drivers: Wakers,
}

impl Probes {
    /// Whether the last answer to a probe is no older than `max_age` and nobody waits for others; or it is
    /// no use to wait, because the strategy is gone, or because it was in vain within the last second.
    #[must_use]
    pub fn is_fresh(&self, max_age: Duration) -> bool {
        let now = self.rounds.nanos();
        let is_within = |event: &AtomicU64, age: Duration| {
            let at = event.load(Ordering::Relaxed);
            at > 0 && u128::from(now.saturating_sub(at)) <= age.as_nanos()
        };
        self.asker.strong_count() == 0
            || is_within(&self.rounds.in_vain, PAUSE)
            || !self.rounds.is_under_way() && is_within(&self.rounds.answered, max_age)
    }

    /// Resolves at once if answers [are fresh](Self::is_fresh). Otherwise three endpoints are
    /// asked, and it resolves when two have answered, all three have been heard of, or `patience` is
    /// over, whichever is first. Requests that wait at the same time wait for the same answers. After a wait
    /// in vain, be it that nobody answered or that `patience` was over, nobody waits for a second.
    ///
    /// Those probes count for requests to come: they replace as many of what these call for.
    ///
    /// The balancer's driver sends the probes; while nobody polls it, `patience` is what ends the wait.
    #[must_use]
    pub fn fresh(&self, max_age: Duration, patience: Duration) -> Fresh {
        Fresh { probes: self.clone(), max_age, patience, wait: None }
    }
}

impl Asker {
    pub(super) fn new() -> Arc<Self> {
        let rounds = Arc::new(Rounds {
            asked: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            epoch: Instant::now(),
            answered: AtomicU64::new(0),
            in_vain: AtomicU64::new(0),
            waiting: Arc::default(),
            drivers: Wakers::default(),
        });
        Arc::new(Self { rounds })
    }

    pub(super) fn probes(self: &Arc<Self>) -> Probes {
        Probes { rounds: Arc::clone(&self.rounds), asker: Arc::downgrade(self) }
    }

    /// An endpoint has answered.
    pub(super) fn answered(&self) {
        self.rounds.answered.store(self.rounds.nanos(), Ordering::Relaxed);
    }

    /// Wakes a driver when a round is asked for.
    pub(super) fn registration(&self) -> Registration {
        self.rounds.drivers.registration()
    }

    /// The latest round that was asked for.
    pub(super) fn latest(&self) -> u64 {
        self.rounds.asked.load(Ordering::SeqCst)
    }

    /// Begins a round that asks so many endpoints at the most.
    pub(super) fn begin(&self, number: u64, most: usize) -> Round {
        let (rounds, asked) = (Arc::clone(&self.rounds), ASKED.min(most));
        Round { rounds, number, asked, heard: 0, answers: 0 }
    }
}

impl Rounds {
    /// Since the epoch, at least 1.
    fn nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn is_under_way(&self) -> bool {
        self.finished.load(Ordering::SeqCst) < self.asked.load(Ordering::SeqCst)
    }

    /// The number of a round to wait for: the one under way, or else a new one.
    fn ask(&self) -> u64 {
        let finished = self.finished.load(Ordering::SeqCst);
        let next = finished + 1;
        match self.asked.compare_exchange(finished, next, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                self.drivers.wake();
                next
            }
            Err(asked) => asked,
        }
    }

    /// A round is over, the first time that somebody says so. Whoever waits looks again.
    fn finish(&self, number: u64, in_vain: bool) {
        if self.finished.fetch_max(number, Ordering::SeqCst) < number {
            if in_vain {
                self.in_vain.store(self.nanos(), Ordering::Relaxed);
            }
            self.waiting.changed();
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.rounds.finish(self.latest(), false);
    }
}

/// A round of probes under way; when it is over or dropped, requests go on.
#[derive(Debug)]
pub(super) struct Round {
    rounds: Arc<Rounds>,
    number: u64,
    /// How many endpoints to ask.
    pub(super) asked: usize,
    /// How many have answered, or failed to.
    heard: usize,
    answers: usize,
}

impl Round {
    /// Tells its probes from those of others, whose last answer may come when it is over.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// An endpoint was heard of.
    pub(super) fn heard(&mut self, has_answered: bool) {
        self.heard += 1;
        self.answers += usize::from(has_answered);
    }

    pub(super) fn is_over(&self) -> bool {
        let enough = self.asked.saturating_sub(1).max(1);
        self.heard >= self.asked || self.answers >= enough
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.rounds.finish(self.number, self.asked > 0 && self.answers == 0);
    }
}

/// Waits until the answers to probes are [`fresh`](Probes::fresh).
#[derive(Debug)]
pub struct Fresh {
    probes: Probes,
    max_age: Duration,
    patience: Duration,
    wait: Option<Wait>,
}

/// A request that waits for a round.
#[derive(Debug)]
struct Wait {
    watch: Watch,
    round: u64,
    patience: Pin<Box<Sleep>>,
}

impl Future for Fresh {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.wait.is_none() && this.probes.is_fresh(this.max_age) {
            return Poll::Ready(());
        }
        let Probes { rounds, asker } = &this.probes;
        let wait = this.wait.get_or_insert_with(|| Wait {
            watch: Watch::for_change(Arc::clone(&rounds.waiting)),
            round: rounds.ask(),
            patience: Box::pin(sleep(this.patience)),
        });
        // Before the look at whether the round is over: what ends after it wakes.
        wait.watch.register(cx.waker());
        let is_over = rounds.finished.load(Ordering::SeqCst) >= wait.round;
        if !is_over && asker.strong_count() > 0 {
            ready!(wait.patience.as_mut().poll(cx));
            rounds.finish(wait.round, true);
        }
        Poll::Ready(())
    }
}
