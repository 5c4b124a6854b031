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

use super::circuit::{Circuit, CircuitEvent};
use crate::{
    discover::Discover,
    endpoint::{Allowance, Endpoint, Health},
    escape::Escaped,
    health::{
        CircuitBreaker, InvalidSetting,
        stage::{
            members::{self, Id, Member},
            stage::{Policy, Stage, stage},
            timer::{Deadlines, Interval, after},
        },
    },
};

stage! {
    /// Puts a circuit breaker before each endpoint: it looks at that endpoint alone, and knows neither
    /// a fleet nor a cap. The stream of [`HealthExt::circuit_broken`](crate::health::HealthExt::circuit_broken).
    ///
    /// While a circuit is open, its endpoint is passed on as [`Health::Unhealthy`] with the reason. When
    /// it is half-open, the endpoint has an [`Allowance`] of as many requests as decide about it. One
    /// that the caller gives up is replaced by another.
    ///
    /// Source: Nygard, "Release It!" (2007).
    CircuitBroken, CircuitPolicy, State
}

impl<D: Discover> CircuitBroken<D> {
    pub(crate) fn new(discover: D, breaker: CircuitBreaker) -> Result<Self, InvalidSetting> {
        breaker.validate()?;
        Ok(Self { stage: Stage::new(discover, CircuitPolicy::new(breaker)) })
    }
}

type Members<K, T> = members::Members<K, T, State>;

#[derive(Debug)]
struct State {
    circuit: Arc<Circuit>,
    position: Position,
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
    calls: (UnboundedSender<(Id, CircuitEvent)>, UnboundedReceiver<(Id, CircuitEvent)>),
    half_window: Interval,
    ends: Deadlines,
}

impl CircuitPolicy {
    fn new(breaker: CircuitBreaker) -> Self {
        let (half_window, ends) = (Interval::new(breaker.window / 2), Deadlines::default());
        Self { breaker, calls: unbounded_channel(), half_window, ends }
    }

    fn answer<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id, call: CircuitEvent) {
        let Some(Member { key, state, .. }) = members.get_mut(id) else { return };
        let reason = match (call, &mut state.position) {
            (CircuitEvent::InARow(failures), Position::Closed) => {
                format!("{failures} consecutive failures")
            }
            (CircuitEvent::Share { failures, requests }, Position::Closed) => {
                format!("{failures} of {requests} requests failed")
            }
            (CircuitEvent::TrialFailed, Position::HalfOpen(_)) => {
                state.failed_trials = state.failed_trials.saturating_add(1);
                "the trial failed".to_owned()
            }
            (CircuitEvent::TrialsPassed, Position::HalfOpen(_)) => {
                tracing::info!(endpoint = %Escaped(&*key), "circuit closed");
                (state.position, state.failed_trials) = (Position::Closed, 0);
                state.circuit.close();
                return members.announce(id);
            }
            (CircuitEvent::TrialGivenUp, Position::HalfOpen(allowance)) => {
                // Replaced, not added to: the balancer must be told that there is room.
                let left = allowance.left().saturating_add(1).min(self.breaker.trials);
                *allowance = Allowance::of(left);
                return members.announce(id);
            }
            _ => return,
        };
        let time = self.breaker.open_for(state.failed_trials);
        let until = after(Instant::now(), time);
        tracing::warn!(endpoint = %Escaped(&*key), reason, ?time, "circuit open");
        let reason = format!("circuit open for {time:.1?}: {reason}").into();
        state.position = Position::Open { until, reason };
        self.ends.add(until, id);
        members.announce(id);
    }

    fn half_open<K: Display, T>(&mut self, members: &mut Members<K, T>, id: Id) {
        let Some(Member { key, endpoint, state, .. }) = members.get_mut(id) else { return };
        tracing::info!(endpoint = %Escaped(&*key), "circuit half-open");
        state.position = Position::HalfOpen(Allowance::of(self.breaker.trials));
        state.circuit.half_open(endpoint.stats(), Instant::now());
        members.announce(id);
    }
}

impl<K, T> Policy<K, T, State> for CircuitPolicy
where
    K: Clone + Display + Eq + Hash,
    T: Clone,
{
    fn join(&mut self, id: Id, _endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let circuit = Arc::new(Circuit::new(id, self.breaker, self.calls.0.clone()));
        State { circuit, position: Position::Closed, failed_trials: 0 }
    }

    fn leave(&mut self, id: Id, member: &mut Member<K, T, State>) -> bool {
        if let Position::Open { until, .. } = member.state.position {
            self.ends.cancel(until, id);
        }
        false
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.circuit) as _);
        Some(match &state.position {
            Position::Closed => endpoint,
            Position::Open { reason, .. } => {
                let health = endpoint.health().clone();
                endpoint.with_health(health.or_worse(Health::Unhealthy(Arc::clone(reason))))
            }
            // On trial at an earlier stage already: the same requests are for both.
            Position::HalfOpen(_) if endpoint.allowance().is_some() => endpoint,
            Position::HalfOpen(allowance) => endpoint.with_allowance(allowance.clone()),
        })
    }

    fn poll(&mut self, members: &mut Members<K, T>, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some((id, call))) = self.calls.1.poll_recv(cx) {
            self.answer(members, id, call);
        }
        while let Poll::Ready(id) = self.ends.poll(cx) {
            self.half_open(members, id);
        }
        if members.is_empty() {
            self.half_window.stop();
            return Poll::Ready(());
        }
        while self.half_window.poll(cx).is_ready() {
            members.iter().for_each(|(_, member)| member.state.circuit.move_on());
        }
        Poll::Pending
    }
}
