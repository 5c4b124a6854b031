use std::{
    collections::BTreeSet,
    fmt::Display,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::stage::{
    members::{Id, Member, Members},
    stage::{Policy, Removal, stage, with_worse_health},
    timer::{Interval, after},
};
use crate::{
    ConfigError,
    endpoint::{Endpoint, Health},
    escape::Escaped,
    opaque::Opaque,
};

/// How long a draining endpoint may take to finish its requests.
#[derive(Clone, Debug)]
pub struct Draining {
    deadline: Duration,
    observer: Option<Opaque<Observer>>,
}

type Observer = Arc<dyn Fn(&DrainReport<'_>) + Send + Sync>;

/// How the draining of an endpoint ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DrainReport<'a> {
    /// The key of the endpoint, as text.
    pub endpoint: &'a str,
    /// Requests that were still in flight at the deadline; 0 if all had finished.
    pub outstanding: u32,
    /// How long the draining took.
    pub time: Duration,
}

impl Draining {
    /// Gives an endpoint at most `deadline` to finish its requests.
    #[must_use]
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, observer: None }
    }

    /// Calls `observer` when an endpoint has drained, or its deadline has passed. It must not
    /// block.
    #[must_use]
    pub fn on_drained(
        mut self,
        observer: impl Fn(&DrainReport<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Opaque(Arc::new(observer)));
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("deadline", self.deadline)
    }
}

impl Default for Draining {
    /// A deadline of 30 s.
    fn default() -> Self {
        Self::within(Duration::from_secs(30))
    }
}

stage! {
    /// Lets draining endpoints finish their requests. The stream of
    /// [`HealthExt::drained`](crate::health::HealthExt::drained).
    ///
    /// An endpoint that discovery removes is passed on as [`Health::Draining`] until its requests
    /// have finished, and is removed then. The status lists it meanwhile. An endpoint that upstream
    /// marks as draining is removed when its requests have finished; it returns when upstream calls
    /// it healthy again. A deadline bounds both. Requests that are still in flight at the deadline
    /// may finish, but the endpoint is removed without them.
    ///
    /// The number of requests in flight is read ten times a second while an endpoint drains.
    Drained, Draining, DrainPolicy, State
}

#[derive(Debug)]
enum State {
    Serving,
    Draining {
        since: Instant,
        removed: bool,
    },
    /// Removed downstream, while upstream still marks it as draining.
    Drained,
}

struct DrainPolicy {
    draining: Draining,
    leaving: BTreeSet<Id>,
    tick: Interval,
}

impl DrainPolicy {
    fn new(draining: Draining) -> Self {
        let tick = Interval::new(Duration::from_millis(100));
        Self { draining, leaving: BTreeSet::new(), tick }
    }

    fn start_draining(&mut self, id: Id, removed: bool) -> State {
        self.leaving.insert(id);
        State::Draining { since: Instant::now(), removed }
    }

    fn report<K: Display, T>(&self, member: &Member<K, T, State>, time: Duration) {
        let outstanding = member.endpoint.stats().outstanding();
        let endpoint = &*member.key.to_string();
        tracing::info!(endpoint = %Escaped(endpoint), outstanding, ?time, "drained");
        if let Some(observer) = &self.draining.observer {
            (observer.0)(&DrainReport { endpoint, outstanding, time });
        }
    }

    fn remove_drained<K, T>(&mut self, members: &mut Members<K, T, State>)
    where
        K: Clone + Display + Eq + Hash,
        T: Clone + 'static,
    {
        let now = Instant::now();
        for id in std::mem::take(&mut self.leaving) {
            let Some(member) = members.get_mut(id) else { continue };
            let State::Draining { since, removed } = member.state else { continue };
            let is_late = now >= after(since, self.draining.deadline);
            if member.endpoint.stats().outstanding() > 0 && !is_late {
                self.leaving.insert(id);
                continue;
            }
            self.report(member, now.duration_since(since));
            member.state = State::Drained;
            if removed {
                members.remove_deferred(id);
            } else {
                members.queue_update(id);
            }
        }
    }
}

impl<K: Clone + Display + Eq + Hash, T: Clone + 'static> Policy<K, T, State> for DrainPolicy {
    fn added(&mut self, id: Id, _key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        match endpoint.health() {
            Health::Draining(_) => self.start_draining(id, false),
            _ => State::Serving,
        }
    }

    fn changed(&mut self, id: Id, member: &mut Member<K, T, State>) {
        let marked = matches!(member.endpoint.health(), Health::Draining(_));
        match &mut member.state {
            State::Serving if marked => member.state = self.start_draining(id, false),
            // Discovery removed the endpoint and added it again before it had drained.
            State::Draining { removed, .. } if marked => *removed = false,
            State::Drained if marked => {}
            _ => {
                self.leaving.remove(&id);
                member.state = State::Serving;
            }
        }
    }

    fn removed(&mut self, id: Id, member: &mut Member<K, T, State>) -> Removal {
        match &mut member.state {
            State::Draining { removed, .. } => *removed = true,
            State::Serving if member.endpoint.stats().outstanding() > 0 => {
                member.state = self.start_draining(id, true);
            }
            State::Serving => {
                self.report(member, Duration::ZERO);
                return Removal::Now;
            }
            State::Drained => return Removal::Now,
        }
        Removal::Deferred
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        match state {
            State::Serving => Some(endpoint),
            State::Draining { .. } => {
                Some(with_worse_health(endpoint, Health::draining("removed by discovery")))
            }
            State::Drained => None,
        }
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.leaving.is_empty() {
            if self.tick.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.remove_drained(members);
        }
        self.tick.reset();
        Poll::Ready(())
    }
}
