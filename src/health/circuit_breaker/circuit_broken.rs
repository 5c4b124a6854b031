use std::{
    fmt::Display,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{
    circuit::{Circuit, CircuitEvent},
    circuit_status::{CircuitCounts, CircuitFigures, CircuitState, EndpointCircuit},
};
use crate::{
    endpoint::{Allowance, Endpoint, Health},
    health::{
        CircuitBreaker,
        stage::{
            change::{Change, log_change},
            members::{self, Id, Member},
            stage::{Policy, Removal, stage, with_trial, with_worse_health},
            timer::{Deadlines, Interval, after},
        },
    },
};

stage! {
    /// Puts a circuit breaker before each endpoint. Each circuit depends on its endpoint alone:
    /// other endpoints do not matter, and the number of open circuits is not limited. The stream of
    /// [`HealthExt::circuit_broken`](crate::health::HealthExt::circuit_broken).
    ///
    /// While a circuit is open, its endpoint is passed on as [`Health::Unhealthy`] with the reason.
    /// While it is half-open, the endpoint has an [`Allowance`] of as many requests as decide
    /// whether it closes. A request that its caller gives up is replaced by another.
    ///
    /// Source: Nygard, "Release It!" (2007).
    CircuitBroken, CircuitBreaker, CircuitPolicy, State, CircuitFigures
}

type Members<K, T> = members::Members<K, T, State>;

#[derive(Debug)]
struct State {
    circuit: Arc<Circuit>,
    position: Position,
    /// When the circuit entered its position.
    since: Instant,
    /// Consecutive trials that have failed.
    failed_trials: u32,
}

#[derive(Debug)]
enum Position {
    Closed,
    Open { until: Instant, reason: Arc<str> },
    HalfOpen(Allowance),
}

struct CircuitPolicy {
    breaker: CircuitBreaker,
    events: (UnboundedSender<(Id, CircuitEvent)>, UnboundedReceiver<(Id, CircuitEvent)>),
    half_window: Interval,
    open_ends: Deadlines,
    figures: CircuitFigures,
}

impl Position {
    fn state(&self) -> CircuitState {
        match self {
            Self::Closed => CircuitState::Closed,
            Self::Open { .. } => CircuitState::Open,
            Self::HalfOpen(_) => CircuitState::HalfOpen,
        }
    }
}

impl CircuitPolicy {
    fn new(breaker: CircuitBreaker) -> Self {
        Self {
            breaker,
            events: unbounded_channel(),
            half_window: Interval::new(breaker.window / 2),
            open_ends: Deadlines::default(),
            figures: CircuitFigures::new("circuit breaker"),
        }
    }

    fn handle_event<K: Display, T>(
        &mut self,
        members: &mut Members<K, T>,
        id: Id,
        event: CircuitEvent,
    ) {
        let Some(Member { state, .. }) = members.get_mut(id) else { return };
        let (cause, count): (_, fn(&mut CircuitCounts) -> &mut u64) =
            match (event, &mut state.position) {
                (CircuitEvent::ConsecutiveFailures(failures), Position::Closed) => {
                    (format!("{failures} consecutive failures"), |counts| {
                        &mut counts.opened_by_consecutive_failures
                    })
                }
                (CircuitEvent::FailureShare { failures, requests }, Position::Closed) => {
                    (format!("{failures} of {requests} requests failed"), |counts| {
                        &mut counts.opened_by_failure_share
                    })
                }
                (CircuitEvent::TrialFailed, Position::HalfOpen(_)) => {
                    state.failed_trials = state.failed_trials.saturating_add(1);
                    ("the trial failed".to_owned(), |counts| &mut counts.opened_by_failed_trial)
                }
                (CircuitEvent::TrialPassed, Position::HalfOpen(_)) => {
                    state.failed_trials = 0;
                    state.circuit.close();
                    self.figures.count(|counts| counts.closed += 1);
                    return self.enter(members, id, Position::Closed, "the trial passed");
                }
                (CircuitEvent::TrialAbandoned, Position::HalfOpen(allowance)) => {
                    // A new allowance instead of a changed one: the update tells the balancer about
                    // it.
                    let left = allowance.left().saturating_add(1).min(self.breaker.trial_requests);
                    *allowance = Allowance::of(left);
                    return members.queue_update(id);
                }
                // An event that was sent before the circuit changed its position.
                _ => return,
            };
        let time = self.breaker.open_time_after(state.failed_trials);
        let until = after(Instant::now(), time);
        let reason = format!("circuit open for {time:.1?}: {cause}").into();
        self.open_ends.add(until, id);
        self.figures.count(|counts| *count(counts) += 1);
        self.enter(members, id, Position::Open { until, reason }, &cause);
    }

    fn half_open<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        let Some(Member { endpoint, state, .. }) = members.get_mut(id) else { return };
        state.circuit.half_open(endpoint.stats(), Instant::now());
        let position = Position::HalfOpen(Allowance::of(self.breaker.trial_requests));
        self.figures.count(|counts| counts.half_opened += 1);
        self.enter(members, id, position, "its time is over");
    }

    /// Changes the position of a circuit.
    fn enter<K: Display, T>(
        &self,
        members: &mut Members<K, T>,
        id: Id,
        position: Position,
        cause: &str,
    ) {
        let Some(Member { key, state, .. }) = members.get_mut(id) else { return };
        let before = std::mem::replace(&mut state.position, position).state();
        let since = std::mem::replace(&mut state.since, Instant::now());
        let now = state.position.state();
        self.figures.edit(id, |_, figures| {
            (figures.state, figures.since) = (now, state.since);
            match &state.position {
                Position::Closed => figures.reason = None,
                Position::Open { reason, .. } => {
                    figures.reason = Some(Arc::clone(reason));
                    figures.opened += 1;
                }
                Position::HalfOpen(_) => {}
            }
        });
        let (stage, endpoint) = (&*self.figures.name(), key);
        let (from, to) = (before.as_str(), now.as_str());
        log_change!("circuit changed", Change { stage, endpoint, from, to, cause: &cause, since });
        members.queue_update(id);
    }
}

impl<K: Clone + Display + Eq + Hash, T: Clone> Policy<K, T, State> for CircuitPolicy {
    fn added(&mut self, id: Id, key: &K, _endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let circuit = Arc::new(Circuit::new(id, self.breaker, self.events.0.clone()));
        let since = Instant::now();
        let figures = EndpointCircuit {
            endpoint: key.to_string().into(),
            state: CircuitState::Closed,
            reason: None,
            since,
            opened: 0,
        };
        self.figures.add(id, figures);
        State { circuit, position: Position::Closed, since, failed_trials: 0 }
    }

    fn removed(&mut self, id: Id, member: &mut Member<K, T, State>) -> Removal {
        if let Position::Open { until, .. } = member.state.position {
            self.open_ends.cancel(until, id);
        }
        self.figures.remove(id);
        Removal::Now
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.circuit) as _);
        Some(match &state.position {
            Position::Closed => endpoint,
            Position::Open { reason, .. } => {
                with_worse_health(endpoint, Health::Unhealthy(Arc::clone(reason)))
            }
            Position::HalfOpen(allowance) => with_trial(endpoint, allowance),
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some((id, event))) = self.events.1.poll_recv(cx) {
            self.handle_event(members, id, event);
        }
        while let Poll::Ready(id) = self.open_ends.poll(cx) {
            self.half_open(members, id);
        }
        if members.is_empty() {
            self.half_window.reset();
            return Poll::Ready(());
        }
        while self.half_window.poll(cx).is_ready() {
            members.iter().for_each(|(_, member)| member.state.circuit.advance_window());
        }
        Poll::Pending
    }
}
