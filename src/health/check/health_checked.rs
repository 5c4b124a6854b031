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

use super::{
    check_status::{
        CheckCounts, CheckFailure, CheckFigures, CheckResult, EndpointCheck, LastCheck,
    },
    level::Level,
};
#[cfg(feature = "http")]
use crate::error::chain;
use crate::{
    BoxError,
    endpoint::{Endpoint, Health},
    error::is_local_lack,
    escape::Escaped,
    health::{
        Check, HealthCheck,
        stage::{
            change::{Change, log_change},
            members::{self, Id, Member},
            stage::{Policy, Removal, stage, with_worse_health},
            timer::{Deadlines, MIN_PERIOD, after},
        },
    },
    log_limit::LogLimit,
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
    ///
    /// A check that fails because this process lacks file descriptors or memory changes no state.
    /// It is counted as failed, and repeated after the interval of a changing state.
    HealthChecked<C>, HealthCheck<C>, CheckPolicy<C>, State, CheckFigures
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
    /// When the endpoint became healthy or unhealthy.
    since: Instant,
    failures_log: LogLimit,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its next check.
    Due(Instant),
    Checking(AbortHandle),
    /// Not checked while it is draining.
    Suspended,
}

type RunningCheck = Abortable<BoxFuture<'static, (Id, EndedCheck)>>;

struct EndedCheck {
    took: Duration,
    result: CheckResult,
    /// `None` if it passed.
    error: Option<BoxError>,
}

struct CheckPolicy<C> {
    config: HealthCheck<C>,
    due: Deadlines,
    running: FuturesUnordered<RunningCheck>,
    /// When the next of the first checks may begin.
    next_first_check: Option<Instant>,
    /// When a check last found that an endpoint had got requests.
    last_traffic: Option<Instant>,
    rng: Rng,
    figures: CheckFigures,
}

/// The time between two first checks, unless their number makes the interval require less.
const FIRST_CHECK_GAP: Duration = Duration::from_millis(10);

const UNCHECKED: &str = "health check: not checked yet";

impl State {
    /// Returns the name of an unhealthy state in events.
    fn name(&self) -> &'static str {
        if *self.reason == *UNCHECKED { "unchecked" } else { "unhealthy" }
    }
}

impl<C> CheckPolicy<C> {
    fn new(config: HealthCheck<C>) -> Self {
        Self {
            due: Deadlines::default(),
            running: FuturesUnordered::new(),
            next_first_check: None,
            last_traffic: None,
            rng: config.seed.map_or_else(Rng::from_entropy, Rng::seeded),
            figures: CheckFigures::new("health check"),
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
            let started = Instant::now();
            let (result, error) = match timeout(limit, check).await {
                Ok(Ok(())) => (CheckResult::Passed, None),
                Ok(Err(error)) => (CheckResult::Failed, Some(error)),
                Err(_elapsed) => {
                    (CheckResult::TimedOut, Some(format!("no response within {limit:?}").into()))
                }
            };
            (id, EndedCheck { took: started.elapsed(), result, error })
        };
        let (abort, registration) = AbortHandle::new_pair();
        member.state.phase = Phase::Checking(abort);
        self.running.push(Abortable::new(check.boxed(), registration));
    }

    fn finish_check<K, T>(&mut self, members: &mut Members<K, T>, id: Id, ended: EndedCheck)
    where
        K: Display,
    {
        let Some(Member { key, endpoint, state, .. }) = members.get_mut(id) else { return };
        let now = Instant::now();
        let stats = endpoint.stats();
        let requests = stats.outcomes().total() + u64::from(stats.outstanding());
        if std::mem::replace(&mut state.requests, requests) != requests {
            self.last_traffic = Some(now);
        }
        let EndedCheck { took, result, error } = ended;
        let thresholds = self.config.thresholds;
        let was_up = thresholds.is_up(state.level);
        let is_inconclusive = error.as_deref().is_some_and(|error| is_local_lack(error));
        let pause = if is_inconclusive {
            self.with_jitter(self.config.changing_interval)
        } else {
            state.level = thresholds.next(state.level, error.is_none());
            self.next_pause(state.level, now)
        };
        let is_up = thresholds.is_up(state.level);
        let at = after(now, pause);
        state.phase = Phase::Due(at);
        self.due.add(at, id);
        let failure = error.as_deref().map(|error| failure_of(result, error));
        let error: Option<Arc<str>> = error.map(|error| with_sources(&*error).into());
        // The first failure of an endpoint that starts unhealthy replaces "not checked yet".
        let is_first_reason = !is_up && *state.reason == *UNCHECKED && error.is_some();
        let from = if was_up { "healthy" } else { state.name() };
        let since = state.since;
        if was_up != is_up || is_first_reason {
            let reason = error.as_ref().map(|error| format!("health check: {error}"));
            (state.since, state.reason) = (now, reason.unwrap_or_default().into());
        }
        self.figures.edit(id, |counts, figures| {
            counts.add(result, took);
            figures.counts.add(result, took);
            figures.last = Some(LastCheck { at: now, took, failure, error: error.clone() });
            (figures.healthy, figures.since) = (is_up, state.since);
            figures.reason = (!is_up).then(|| Arc::clone(&state.reason));
        });
        if was_up != is_up || is_first_reason {
            let to = if is_up { "healthy" } else { "unhealthy" };
            let cause = error.as_deref().unwrap_or("the check passed");
            let (stage, endpoint) = (&*self.figures.name(), key);
            let change = Change { stage, endpoint, from, to, cause: &cause, since };
            log_change!("health by checks changed", change);
            members.queue_update(id);
        } else if let Some(error) = error {
            // Of an endpoint that stays unhealthy, every check fails.
            if let Some(suppressed) = state.failures_log.pass() {
                let (endpoint, cause) = (Escaped(&*key), Escaped(&error));
                tracing::debug!(%endpoint, %cause, ?took, suppressed, "a health check failed");
            }
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
        self.with_jitter(pause)
    }

    fn with_jitter(&mut self, pause: Duration) -> Duration {
        let factor = 1.0 + self.config.jitter * (2.0 * self.rng.unit() - 1.0);
        let pause = Duration::try_from_secs_f64(pause.as_secs_f64() * factor).unwrap_or(pause);
        pause.max(MIN_PERIOD)
    }
}

fn failure_of(result: CheckResult, error: &(dyn std::error::Error + 'static)) -> CheckFailure {
    #[cfg(feature = "http")]
    if chain(error).any(|error| error.is::<crate::health::UnexpectedResponse>()) {
        return CheckFailure::UnexpectedResponse;
    }
    let _ = error;
    match result {
        CheckResult::TimedOut => CheckFailure::TimedOut,
        CheckResult::Failed | CheckResult::Passed => CheckFailure::Failed,
    }
}

/// Returns the error with its sources, which say more than "error sending request".
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

impl<K: Clone + Display + Eq + Hash, T: Clone, C: Check<T>> Policy<K, T, State> for CheckPolicy<C> {
    fn added(&mut self, id: Id, key: &K, endpoint: &Endpoint<T>, endpoints: usize) -> State {
        let level = self.config.thresholds.first(self.config.initial);
        let (healthy, since) = (self.config.thresholds.is_up(level), Instant::now());
        let reason: Arc<str> = UNCHECKED.into();
        let figures = EndpointCheck {
            endpoint: key.to_string().into(),
            healthy,
            reason: (!healthy).then(|| Arc::clone(&reason)),
            since,
            counts: CheckCounts::default(),
            last: None,
        };
        self.figures.add(id, figures);
        State {
            level,
            reason,
            phase: match endpoint.health() {
                Health::Draining(_) => Phase::Suspended,
                _ => self.schedule_first(id, endpoints),
            },
            requests: 0,
            since,
            failures_log: LogLimit::default(),
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
        self.figures.remove(id);
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
                if let Ok((id, ended)) = finished {
                    self.finish_check(members, id, ended);
                }
                has_worked = true;
            }
            if !has_worked {
                return if members.is_empty() { Poll::Ready(()) } else { Poll::Pending };
            }
        }
    }
}
