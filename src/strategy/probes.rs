use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use super::wakers::Wakers;
use crate::endpoint::{WaitQueue, Watch};

/// The probes of a [`Probed`](super::Probed) strategy or a [`Prequal`](super::Prequal), for who wants to
/// wait for them: a pick can't, but whoever sends requests can, before the pick.
///
/// [`AwaitProbes`](crate::probe::AwaitProbes) does so for services. Clones of the strategy share it.
#[derive(Clone, Debug)]
pub struct Probes {
    rounds: Arc<Rounds>,
    asker: Weak<Asker>,
}

/// That there is a strategy to send probes.
#[derive(Debug)]
pub(super) struct Asker;

/// How many endpoints a round asks, and how many answers end it: all but one, so that one that
/// stands still holds nobody up.
const ASKED: usize = 3;
/// How long nobody waits after it was in vain: probes that all fail or take too long must not make
/// each request wait.
const PAUSE: Duration = Duration::from_secs(1);

/// Rounds of probes that requests wait for. One is under way at a time, for all of them.
#[derive(Debug)]
struct Rounds {
    under_way: AtomicBool,
    /// That the driver has not begun.
    due: AtomicBool,
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
    pub(super) fn new(asker: &Arc<Asker>) -> Self {
        let rounds = Rounds {
            under_way: AtomicBool::new(false),
            due: AtomicBool::new(false),
            finished: AtomicU64::new(0),
            epoch: Instant::now(),
            answered: AtomicU64::new(0),
            in_vain: AtomicU64::new(0),
            waiting: Arc::default(),
            drivers: Wakers::default(),
        };
        Self { rounds: Arc::new(rounds), asker: Arc::downgrade(asker) }
    }

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
            || !self.rounds.under_way.load(Ordering::SeqCst)
                && is_within(&self.rounds.answered, max_age)
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
        Fresh { probes: self.clone(), max_age, patience, wait: None, timer: None }
    }

    /// An endpoint has answered.
    pub(super) fn answered(&self) {
        self.rounds.answered.store(self.rounds.nanos(), Ordering::Relaxed);
    }

    /// Wakes the driver when a round is due.
    pub(super) fn register(&self, cx: &mut Context<'_>) {
        self.rounds.drivers.register(cx.waker());
    }

    /// Takes a round that is due, among so many endpoints.
    pub(super) fn begin(&self, endpoints: usize) -> Option<Round> {
        self.rounds.due.swap(false, Ordering::SeqCst).then(|| {
            let asked = ASKED.min(endpoints);
            let missing = asked.saturating_sub(1).max(1);
            let number = self.rounds.finished.load(Ordering::SeqCst);
            Round {
                rounds: Arc::clone(&self.rounds),
                number,
                asked,
                unheard: asked,
                missing,
                answers: 0,
            }
        })
    }
}

impl Rounds {
    /// Since the epoch, at least 1.
    fn nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn wait_was_in_vain(&self) {
        self.in_vain.store(self.nanos(), Ordering::Relaxed);
    }
}

/// A round of probes under way; when it is over or dropped, requests go on.
#[derive(Debug)]
pub(super) struct Round {
    rounds: Arc<Rounds>,
    number: u64,
    /// How many endpoints to ask.
    pub(super) asked: usize,
    /// Endpoints that have not answered, nor failed to.
    unheard: usize,
    /// Answers that requests still wait for.
    missing: usize,
    answers: usize,
}

impl Round {
    /// Tells its probes from those of others, whose last answer may come when it is over.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// An endpoint was heard of.
    pub(super) fn heard(&mut self, has_answered: bool) {
        self.unheard = self.unheard.saturating_sub(1);
        self.missing = self.missing.saturating_sub(usize::from(has_answered));
        self.answers += usize::from(has_answered);
    }

    pub(super) fn is_over(&self) -> bool {
        self.unheard == 0 || self.missing == 0
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        if self.asked > 0 && self.answers == 0 {
            self.rounds.wait_was_in_vain();
        }
        self.rounds.under_way.store(false, Ordering::SeqCst);
        self.rounds.finished.fetch_add(1, Ordering::SeqCst);
        self.rounds.waiting.changed();
    }
}

pin_project! {
    /// Waits until the answers to probes are [`fresh`](Probes::fresh).
    #[derive(Debug)]
    pub struct Fresh {
        probes: Probes,
        max_age: Duration,
        patience: Duration,
        wait: Option<Wait>,
        #[pin]
        timer: Option<Sleep>,
    }
}

/// A request that waits for a round.
#[derive(Debug)]
struct Wait {
    watch: Watch,
    /// Rounds that were over before.
    before: u64,
}

impl Future for Fresh {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let rounds = &this.probes.rounds;
        if this.wait.is_none() {
            // Before the look at whether a round is under way: that one must count.
            let before = rounds.finished.load(Ordering::SeqCst);
            if this.probes.is_fresh(*this.max_age) {
                return Poll::Ready(());
            }
            if !rounds.under_way.swap(true, Ordering::SeqCst) {
                rounds.due.store(true, Ordering::SeqCst);
                rounds.drivers.wake();
            }
            *this.wait = Some(Wait { watch: Watch::new(Arc::clone(&rounds.waiting)), before });
            this.timer.set(Some(sleep(*this.patience)));
        }
        let (Some(wait), Some(timer)) = (&*this.wait, this.timer.as_pin_mut()) else {
            return Poll::Ready(());
        };
        wait.watch.register(cx.waker());
        if rounds.finished.load(Ordering::SeqCst) == wait.before {
            ready!(timer.poll(cx));
            rounds.wait_was_in_vain();
        }
        Poll::Ready(())
    }
}
