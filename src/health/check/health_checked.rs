use std::{
    fmt::Display,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    Stream,
    future::{AbortHandle, Abortable, BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, timeout};

use super::level::Level;
use crate::{
    BoxError,
    endpoint::{Endpoint, Health},
    escape::{Escaped, EscapedChain},
    health::{
        Check, HealthCheck,
        stage::{
            members::{self, Id, Member},
            stage::{Policy, Removal, stage, with_worse_health},
            timer::{Deadlines, MIN_PERIOD, after},
        },
    },
    rng::Rng,
};

stage! {
    /// Checks each endpoint periodically, with or without traffic. The stream of
    /// [`HealthExt::health_checked`](crate::health::HealthExt::health_checked).
    ///
    /// An endpoint that fails its checks is passed on as [`Health::Unhealthy`], with the error of
    /// the check that changed its state. Checks run concurrently. First checks are spread over the
    /// interval: they begin one after the other, 100 per second, or more if the interval is too
    /// short for that. An endpoint that is draining is not checked. If an endpoint is removed, its
    /// check is cancelled.
    HealthChecked<C>, HealthCheck<C>, CheckPolicy<C>, State
}

type Members<K, T> = members::Members<K, T, State>;

#[derive(Debug)]
struct State {
    level: Level,
    /// Why the endpoint is unhealthy, if it is.
    reason: Arc<str>,
    phase: Phase,
    /// The number of requests at the last check.
    requests: u64,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its next check.
    Due(Instant),
    Checking(AbortHandle),
    /// Not checked while it is draining.
    Suspended,
}

type RunningCheck = Abortable<BoxFuture<'static, (Id, Result<(), BoxError>)>>;

struct CheckPolicy<C> {
    config: HealthCheck<C>,
    due: Deadlines,
    running: FuturesUnordered<RunningCheck>,
    /// When the next of the first checks may begin.
    next_first_check: Option<Instant>,
    /// When a check last found that an endpoint had got requests.
    last_traffic: Option<Instant>,
    rng: Rng,
}

/// The time between two first checks, unless their number makes the interval require less.
const FIRST_CHECK_GAP: Duration = Duration::from_millis(10);

const UNCHECKED: &str = "health check: not checked yet";

impl<C> CheckPolicy<C> {
    fn new(config: HealthCheck<C>) -> Self {
        Self {
            due: Deadlines::default(),
            running: FuturesUnordered::new(),
            next_first_check: None,
            last_traffic: None,
            rng: config.seed.map_or_else(Rng::from_entropy, Rng::seeded),
            config,
        }
    }

    fn schedule_first(&mut self, id: Id, endpoints: usize) -> Phase {
        let now = Instant::now();
        let gap = (self.config.interval / endpoints.max(1) as u32).min(FIRST_CHECK_GAP);
        let at = self.next_first_check.map_or(now, |next| next.max(now));
        self.next_first_check = Some(after(at, gap));
        self.due.add(at, id);
        Phase::Due(at)
    }

    fn suspend(&mut self, id: Id, phase: &mut Phase) {
        match std::mem::replace(phase, Phase::Suspended) {
            Phase::Due(at) => self.due.cancel(at, id),
            Phase::Checking(abort) => abort.abort(),
            Phase::Suspended => {}
        }
    }

    fn start_check<K, T>(&mut self, members: &mut Members<K, T>, id: Id)
    where
        T: Clone,
        C: Check<T>,
    {
        let Some(member) = members.get_mut(id) else { return };
        let check = self.config.check.check(member.endpoint.target().clone());
        let limit = self.config.timeout;
        let check = async move {
            let timed_out = |_| Err(format!("no response within {limit:?}").into());
            (id, timeout(limit, check).await.unwrap_or_else(timed_out))
        };
        let (abort, registration) = AbortHandle::new_pair();
        member.state.phase = Phase::Checking(abort);
        self.running.push(Abortable::new(check.boxed(), registration));
    }

    fn finish_check<K, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        result: Result<(), BoxError>,
    ) where
        K: Display,
    {
        let Some(Member { key, endpoint, state, .. }) = members.get_mut(id) else { return };
        let now = Instant::now();
        let stats = endpoint.stats();
        let requests = stats.outcomes().total() + u64::from(stats.outstanding());
        if std::mem::replace(&mut state.requests, requests) != requests {
            self.last_traffic = Some(now);
        }
        let thresholds = self.config.thresholds;
        let was_up = thresholds.is_up(state.level);
        state.level = thresholds.next(state.level, result.is_ok());
        let is_up = thresholds.is_up(state.level);
        let at = after(now, self.next_pause(state.level, now));
        state.phase = Phase::Due(at);
        self.due.add(at, id);
        match result {
            // The first failure of an endpoint that starts unhealthy replaces "not checked yet".
            Err(error) if !is_up && (was_up || *state.reason == *UNCHECKED) => {
                let error = with_sources(&*error);
                tracing::warn!(
                    endpoint = %Escaped(&*key),
                    error = %Escaped(&error),
                    "the health check failed"
                );
                state.reason = format!("health check: {error}").into();
                members.queue_update(id);
            }
            Ok(()) if is_up && !was_up => {
                tracing::info!(endpoint = %Escaped(&*key), "the health check passes");
                members.queue_update(id);
            }
            Err(error) => {
                let error = EscapedChain(&*error);
                tracing::debug!(endpoint = %Escaped(&*key), %error, "a health check failed");
            }
            Ok(()) => {}
        }
    }

    /// Returns the time until the next check of an endpoint.
    fn next_pause(&mut self, level: Level, now: Instant) -> Duration {
        // Traffic is seen only at checks. Twice the interval, so that jitter does not hide it.
        let max_age = self.config.interval.saturating_mul(2);
        let is_busy = self.last_traffic.is_some_and(|last| now.duration_since(last) <= max_age);
        let pause = if !self.config.thresholds.is_settled(level) {
            self.config.changing_interval
        } else if is_busy {
            self.config.interval
        } else {
            self.config.idle_interval
        };
        let factor = 1.0 + self.config.jitter * (2.0 * self.rng.unit() - 1.0);
        let pause = Duration::try_from_secs_f64(pause.as_secs_f64() * factor).unwrap_or(pause);
        pause.max(MIN_PERIOD)
    }
}

/// Returns the error with its sources, which say more than "error sending request".
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

impl<K: Clone + Display + Eq + Hash, T: Clone, C: Check<T>> Policy<K, T, State> for CheckPolicy<C> {
    fn added(&mut self, id: Id, endpoint: &Endpoint<T>, endpoints: usize) -> State {
        State {
            level: self.config.thresholds.first(self.config.initial),
            reason: UNCHECKED.into(),
            phase: match endpoint.health() {
                Health::Draining(_) => Phase::Suspended,
                _ => self.schedule_first(id, endpoints),
            },
            requests: 0,
        }
    }

    fn changed(&mut self, id: Id, member: &mut Member<K, T, State>) {
        let is_draining = matches!(member.endpoint.health(), Health::Draining(_));
        match &mut member.state.phase {
            phase if is_draining => self.suspend(id, phase),
            Phase::Suspended => member.state.phase = self.schedule_first(id, 1),
            _ => {}
        }
    }

    fn removed(&mut self, id: Id, member: &mut Member<K, T, State>) -> Removal {
        self.suspend(id, &mut member.state.phase);
        Removal::Now
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        Some(match self.config.thresholds.is_up(state.level) {
            true => endpoint,
            false => with_worse_health(endpoint, Health::Unhealthy(Arc::clone(&state.reason))),
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        // A check that has started must be polled, and one that has finished may be due again at
        // once: only a turn without work has registered all wakers.
        loop {
            let mut has_worked = false;
            while let Poll::Ready(id) = self.due.poll(cx) {
                self.start_check(members, id);
                has_worked = true;
            }
            while let Poll::Ready(Some(finished)) = Pin::new(&mut self.running).poll_next(cx) {
                // An aborted check gives an error.
                if let Ok((id, result)) = finished {
                    self.finish_check(members, id, result);
                }
                has_worked = true;
            }
            if !has_worked {
                return if members.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    }
}
