use std::{
    fmt,
    fmt::Display,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, future::BoxFuture};
use futures::{
    future::{AbortHandle, Abortable, FutureExt},
    stream::FuturesUnordered,
};
use pin_project_lite::pin_project;
use tokio::time::{Instant, timeout};

use super::level::Level;
use crate::{
    BoxError,
    discover::{Discover, Update},
    endpoint::{Endpoint, Health},
    escape::{Escaped, EscapedChain},
    health::{
        Check, HealthCheck, InvalidSetting,
        stage::{
            members::{self, Id, Member},
            stage::{Policy, Stage},
            timer::{Deadlines, MIN_PERIOD, after},
        },
    },
    rng::Rng,
};

pin_project! {
    /// CheckPolicy each endpoint again and again, whether requests come or not. The stream of
    /// [`HealthExt::health_checked`](crate::health::HealthExt::health_checked).
    ///
    /// An endpoint that its checks find unhealthy is passed on as [`Health::Unhealthy`] with the error of
    /// the check that brought it down. No check waits for another. Those of many endpoints are spread over the interval: first
    /// checks begin one after the other, a hundred a second, or as many more as the interval asks for.
    /// An endpoint that is draining is not checked; one that is removed takes its check with it.
    pub struct HealthChecked<D: Discover, C> {
        #[pin]
        stage: Stage<D, CheckPolicy<C>, State>,
    }
}

impl<D, C> HealthChecked<D, C>
where
    D: Discover,
    C: Check<D::Target>,
{
    pub(crate) fn new(discover: D, check: HealthCheck<C>) -> Result<Self, InvalidSetting> {
        check.validate()?;
        Ok(Self { stage: Stage::new(discover, CheckPolicy::new(check)) })
    }
}

impl<D, C> Stream for HealthChecked<D, C>
where
    D: Discover<Key: Clone + Eq + Hash + Display, Target: Clone>,
    C: Check<D::Target>,
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().stage.poll_next(cx)
    }
}

impl<D: Discover + fmt::Debug, C> fmt::Debug for HealthChecked<D, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stage.fmt_as("HealthChecked", f)
    }
}

type Members<K, T> = members::Members<K, T, State>;

#[derive(Debug)]
struct State {
    level: Level,
    /// Why it is down, if it is.
    reason: Arc<str>,
    turn: Turn,
    /// Requests it had seen at its last check.
    requests: u64,
}

/// What an endpoint waits for.
#[derive(Debug)]
enum Turn {
    Due(Instant),
    Running(AbortHandle),
    /// Nothing: it is draining.
    Excused,
}

type Running = Abortable<BoxFuture<'static, (Id, Result<(), BoxError>)>>;

struct CheckPolicy<C> {
    config: HealthCheck<C>,
    due: Deadlines,
    running: FuturesUnordered<Running>,
    /// When the next of the first checks may begin.
    next_first: Option<Instant>,
    /// When requests were last seen.
    traffic: Option<Instant>,
    rng: Rng,
}

/// The time between two first checks, unless there are so many that the interval asks for less.
const FIRST_CHECK_GAP: Duration = Duration::from_millis(10);

impl<C> CheckPolicy<C> {
    fn new(config: HealthCheck<C>) -> Self {
        Self {
            due: Deadlines::default(),
            running: FuturesUnordered::new(),
            next_first: None,
            traffic: None,
            rng: config.seed.map_or_else(Rng::from_entropy, Rng::seeded),
            config,
        }
    }

    fn first_turn(&mut self, id: Id, endpoints: usize) -> Turn {
        let now = Instant::now();
        let gap = (self.config.interval / endpoints.max(1) as u32).min(FIRST_CHECK_GAP);
        let at = self.next_first.map_or(now, |next| next.max(now));
        self.next_first = Some(after(at, gap));
        self.due.add(at, id);
        Turn::Due(at)
    }

    fn excuse(&mut self, id: Id, turn: &mut Turn) {
        match std::mem::replace(turn, Turn::Excused) {
            Turn::Due(at) => self.due.cancel(at, id),
            Turn::Running(abort) => abort.abort(),
            Turn::Excused => {}
        }
    }

    fn start<K, T>(&mut self, members: &mut Members<K, T>, id: Id)
    where
        T: Clone,
        C: Check<T>,
    {
        let Some(member) = members.get_mut(id) else { return };
        let check = self.config.check.check(member.endpoint.target().clone());
        let limit = self.config.timeout;
        let checking = async move {
            let late = |_| Err(format!("no answer within {limit:?}").into());
            (id, timeout(limit, check).await.unwrap_or_else(late))
        };
        let (abort, registration) = AbortHandle::new_pair();
        member.state.turn = Turn::Running(abort);
        self.running.push(Abortable::new(checking.boxed(), registration));
    }

    fn finish<K, T>(&mut self, members: &mut Members<K, T>, id: Id, result: Result<(), BoxError>)
    where
        K: Display,
    {
        let Some(Member { key, endpoint, state, .. }) = members.get_mut(id) else { return };
        let now = Instant::now();
        let stats = endpoint.stats();
        let requests = stats.outcomes().total() + u64::from(stats.outstanding());
        if std::mem::replace(&mut state.requests, requests) != requests {
            self.traffic = Some(now);
        }
        let thresholds = self.config.thresholds;
        let was_up = thresholds.is_up(state.level);
        state.level = thresholds.next(state.level, result.is_ok());
        let is_up = thresholds.is_up(state.level);
        let at = after(now, self.pause(state.level, now));
        state.turn = Turn::Due(at);
        self.due.add(at, id);
        match result {
            Err(error) if !is_up && (was_up || *state.reason == *UNCHECKED) => {
                let error = with_sources(&*error);
                tracing::warn!(endpoint = %Escaped(&*key), error = %Escaped(&error), "the health check failed");
                state.reason = format!("health check: {error}").into();
                members.announce(id);
            }
            Ok(()) if is_up && !was_up => {
                tracing::info!(endpoint = %Escaped(&*key), "the health check passes");
                members.announce(id);
            }
            Err(error) => {
                let error = EscapedChain(&*error);
                tracing::debug!(endpoint = %Escaped(&*key), %error, "a health check failed");
            }
            Ok(()) => {}
        }
    }

    /// How long to wait for the next check.
    fn pause(&mut self, level: Level, now: Instant) -> Duration {
        let patience = self.config.interval.saturating_mul(2);
        let is_busy = self.traffic.is_some_and(|last| now.duration_since(last) <= patience);
        let pause = if !self.config.thresholds.is_settled(level) {
            self.config.changing
        } else if is_busy {
            self.config.interval
        } else {
            self.config.idle
        };
        let part = 1.0 + self.config.jitter * (2.0 * self.rng.unit() - 1.0);
        let pause = Duration::try_from_secs_f64(pause.as_secs_f64() * part).unwrap_or(pause);
        pause.max(MIN_PERIOD)
    }
}

/// The error and what is behind it, which says more than "error sending request".
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

const UNCHECKED: &str = "health check: not checked yet";

impl<K, T, C> Policy<K, T, State> for CheckPolicy<C>
where
    K: Clone + Display + Eq + Hash,
    T: Clone,
    C: Check<T>,
{
    fn join(&mut self, id: Id, endpoint: &Endpoint<T>, endpoints: usize) -> State {
        State {
            level: self.config.thresholds.first(self.config.initial),
            reason: UNCHECKED.into(),
            turn: match endpoint.health() {
                Health::Draining(_) => Turn::Excused,
                _ => self.first_turn(id, endpoints),
            },
            requests: 0,
        }
    }

    fn change(&mut self, id: Id, member: &mut Member<K, T, State>) {
        let is_draining = matches!(member.endpoint.health(), Health::Draining(_));
        match &mut member.state.turn {
            turn if is_draining => self.excuse(id, turn),
            Turn::Excused => member.state.turn = self.first_turn(id, 1),
            _ => {}
        }
    }

    fn leave(&mut self, id: Id, member: &mut Member<K, T, State>) -> bool {
        self.excuse(id, &mut member.state.turn);
        false
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        if self.config.thresholds.is_up(state.level) {
            return Some(endpoint);
        }
        let health = endpoint.health().clone();
        Some(endpoint.with_health(health.or_worse(Health::Unhealthy(Arc::clone(&state.reason)))))
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut worked = false;
            while let Poll::Ready(id) = self.due.poll(cx) {
                self.start(members, id);
                worked = true;
            }
            while let Poll::Ready(Some(checked)) = Pin::new(&mut self.running).poll_next(cx) {
                if let Ok((id, result)) = checked {
                    self.finish(members, id, result);
                }
                worked = true;
            }
            if !worked {
                return if members.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    }
}
