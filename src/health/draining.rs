use std::{
    collections::BTreeSet,
    fmt,
    fmt::Display,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    InvalidSetting,
    stage::{
        members::{Id, Member, Members},
        stage::{Policy, Stage, stage},
        timer::{Interval, after},
    },
};
use crate::{
    discover::Discover,
    endpoint::{Endpoint, Health},
    escape::Escaped,
};

/// How long endpoints that leave may take to finish what they have begun.
#[derive(Clone)]
pub struct Draining {
    deadline: Duration,
    observer: Option<Observer>,
}

type Observer = Arc<dyn Fn(&DrainReport<'_>) + Send + Sync>;

/// An endpoint that has been drained.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DrainReport<'a> {
    /// Its key, as text.
    pub endpoint: &'a str,
    /// Requests that had not finished at the deadline; 0 if it is empty.
    pub outstanding: u32,
    /// How long it took.
    pub time: Duration,
}

impl Draining {
    /// With at most this time to finish.
    #[must_use]
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, observer: None }
    }

    /// Tells this function of each endpoint that is empty, or whose time is over. It must not block.
    #[must_use]
    pub fn on_drained(
        mut self,
        observer: impl Fn(&DrainReport<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("deadline", self.deadline)
    }
}

impl Default for Draining {
    /// 30 s.
    fn default() -> Self {
        Self::within(Duration::from_secs(30))
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("deadline", &self.deadline)
            .field("observed", &self.observer.is_some())
            .finish()
    }
}

stage! {
    /// Sees endpoints off. The stream of [`HealthExt::drained`](crate::health::HealthExt::drained).
    ///
    /// An endpoint that discovery removes is passed on as [`Health::Draining`] until its requests have
    /// finished, and removed then; so it is seen in the status as long as it has work. One that
    /// upstream marks as draining is removed when its requests have finished, and is back if
    /// upstream calls it healthy again. A deadline bounds both; requests that are still in flight
    /// then may finish all the same, but nobody waits for them.
    ///
    /// How many requests are in flight is looked at ten times a second, while there is somebody to see off.
    Drained, DrainPolicy, State
}

impl<D: Discover> Drained<D> {
    pub(super) fn new(discover: D, draining: Draining) -> Result<Self, InvalidSetting> {
        draining.validate()?;
        let tick = Interval::new(Duration::from_millis(100));
        let policy = DrainPolicy { draining, leaving: BTreeSet::new(), tick };
        Ok(Self { stage: Stage::new(discover, policy) })
    }
}

#[derive(Debug)]
enum State {
    Serving,
    Leaving {
        since: Instant,
        removed: bool,
    },
    /// Downstream has it no more; upstream still marks it as draining.
    Left,
}

struct DrainPolicy {
    draining: Draining,
    leaving: BTreeSet<Id>,
    tick: Interval,
}

impl DrainPolicy {
    fn see_off(&mut self, id: Id, removed: bool) -> State {
        self.leaving.insert(id);
        State::Leaving { since: Instant::now(), removed }
    }

    fn tell<K: Display, T>(&self, member: &Member<K, T, State>, time: Duration) {
        let outstanding = member.endpoint.stats().outstanding();
        let endpoint = &*member.key.to_string();
        tracing::info!(endpoint = %Escaped(endpoint), outstanding, ?time, "drained");
        if let Some(observer) = &self.draining.observer {
            observer(&DrainReport { endpoint, outstanding, time });
        }
    }

    fn look<K, T>(&mut self, members: &mut Members<K, T, State>)
    where
        K: Clone + Display + Eq + Hash,
        T: Clone,
    {
        let now = Instant::now();
        for id in std::mem::take(&mut self.leaving) {
            let Some(member) = members.get_mut(id) else { continue };
            let State::Leaving { since, removed } = member.state else { continue };
            let over = now >= after(since, self.draining.deadline);
            if member.endpoint.stats().outstanding() > 0 && !over {
                self.leaving.insert(id);
                continue;
            }
            self.tell(member, now.duration_since(since));
            member.state = State::Left;
            if removed {
                members.retire(id);
            } else {
                members.announce(id);
            }
        }
    }
}

impl<K, T> Policy<K, T, State> for DrainPolicy
where
    K: Clone + Display + Eq + Hash,
    T: Clone,
{
    fn join(&mut self, id: Id, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        match endpoint.health() {
            Health::Draining(_) => self.see_off(id, false),
            _ => State::Serving,
        }
    }

    fn change(&mut self, id: Id, member: &mut Member<K, T, State>) {
        let marked = matches!(member.endpoint.health(), Health::Draining(_));
        match &mut member.state {
            State::Serving if marked => member.state = self.see_off(id, false),
            // It was removed and is back before it was gone.
            State::Leaving { removed, .. } if marked => *removed = false,
            State::Left if marked => {}
            _ => {
                self.leaving.remove(&id);
                member.state = State::Serving;
            }
        }
    }

    fn leave(&mut self, id: Id, member: &mut Member<K, T, State>) -> bool {
        match &mut member.state {
            State::Leaving { removed, .. } => *removed = true,
            State::Serving if member.endpoint.stats().outstanding() > 0 => {
                member.state = self.see_off(id, true);
            }
            State::Serving => {
                self.tell(member, Duration::ZERO);
                return false;
            }
            State::Left => return false,
        }
        true
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        match state {
            State::Serving => Some(endpoint),
            State::Leaving { .. } => {
                let health = endpoint.health().clone();
                Some(
                    endpoint.with_health(health.or_worse(Health::draining("removed by discovery"))),
                )
            }
            State::Left => None,
        }
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.leaving.is_empty() {
            if self.tick.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.look(members);
        }
        self.tick.stop();
        Poll::Ready(())
    }
}
