use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    InvalidSetting,
    stage::{
        members::{Id, Members},
        stage::{Policy, Stage, stage},
        timer::Interval,
        weight_share::with_weight_share,
    },
};
use crate::{
    discover::Discover,
    endpoint::{Endpoint, EndpointStats, OutcomeCounts},
    outcome::{Meter, Outcome, Sample},
};

/// How endpoints that say they have too much to do get less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverloadBackoff {
    interval: Duration,
    floor: f64,
    longest: Duration,
}

impl OverloadBackoff {
    /// Looks each second, leaves 5 % of the weight, heeds a `Retry-After` of up to a minute.
    #[must_use]
    pub fn new() -> Self {
        Self { interval: Duration::from_secs(1), floor: 0.05, longest: Duration::from_secs(60) }
    }

    /// How often the answers are looked at. Default 1 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The part of its weight that an endpoint has at least. Default 0.05.
    #[must_use]
    pub fn floor(mut self, part: f64) -> Self {
        self.floor = part;
        self
    }

    /// The longest time for which an endpoint is left alone when it asks for it. Default 60 s.
    #[must_use]
    pub fn max_pause(mut self, time: Duration) -> Self {
        self.longest = time;
        self
    }

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("interval", self.interval)?;
        InvalidSetting::unless_within("floor", self.floor, [0.0, 1.0])
    }

    /// The part of its weight that an endpoint has next.
    fn next(&self, part: f64, outcomes: &OutcomeCounts, asks_for_a_pause: bool) -> f64 {
        let OutcomeCounts { success, application, overload, .. } = outcomes;
        let overloaded = *overload as f64 / (success + application + overload).max(1) as f64;
        if *overload > 0 {
            part * (1.0 - overloaded / 2.0)
        } else if asks_for_a_pause {
            part
        } else {
            part + STEP
        }
        .clamp(self.floor, 1.0)
    }
}

impl Default for OverloadBackoff {
    fn default() -> Self {
        Self::new()
    }
}

/// What an endpoint gets back of its weight in an interval without a complaint.
const STEP: f64 = 0.1;

stage! {
    /// Gives endpoints that answer with an overload (HTTP 429 or 503, a throttled function) a smaller share,
    /// without calling them broken. The stream of [`HealthExt::overload_backoff`](crate::health::HealthExt::overload_backoff).
    ///
    /// In each interval an endpoint's weight is lowered by half the share of its answers that told of
    /// overload, and raised by a tenth of the whole if none did. While an answer's `Retry-After` runs,
    /// it is not raised. Shares are relative: where all complain equally nothing changes.
    ///
    /// **All weights are multiplied by 100**, as [`SlowStarted`](crate::health::SlowStarted) does. Strategies
    /// whose load is [`FailureAware`](crate::load::FailureAware) steer away by themselves, request by request.
    ///
    /// Source: DCTCP (Alizadeh et al., 2010), whose window answers to the share of marked packets like
    /// that.
    OverloadBackedOff, OverloadBackoffPolicy, State
}

impl<D: Discover> OverloadBackedOff<D> {
    pub(super) fn new(discover: D, relief: OverloadBackoff) -> Result<Self, InvalidSetting> {
        relief.validate()?;
        let policy = OverloadBackoffPolicy { relief, tick: Interval::new(relief.interval) };
        Ok(Self { stage: Stage::new(discover, policy) })
    }
}

#[derive(Debug)]
struct State {
    part: f64,
    /// The outcomes that have been looked at.
    seen: OutcomeCounts,
    pause: Arc<Pause>,
}

/// Until when an endpoint has asked to be left alone, in nanoseconds of its vitals' age.
#[derive(Debug)]
struct Pause {
    until: AtomicU64,
    longest: Duration,
}

impl Meter for Pause {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Outcome::Overload { retry_after: Some(pause) } = sample.outcome() {
            let pause = (*pause).min(self.longest).as_nanos();
            let pause = u64::try_from(pause).unwrap_or(u64::MAX);
            let until = stats.age(Instant::now()).saturating_add(pause);
            self.until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn needs_latency(&self) -> bool {
        false
    }
}

struct OverloadBackoffPolicy {
    relief: OverloadBackoff,
    tick: Interval,
}

impl OverloadBackoffPolicy {
    fn look<K, T>(&self, members: &mut Members<K, T, State>) {
        let now = Instant::now();
        let mut changed = Vec::new();
        for (id, member) in members.iter_mut() {
            let (stats, state) = (member.endpoint.stats(), &mut member.state);
            let outcomes = stats.outcomes().since(&state.seen);
            state.seen = stats.outcomes();
            let pauses = state.pause.until.load(Ordering::Relaxed) > stats.age(now);
            let part = self.relief.next(state.part, &outcomes, pauses);
            if part != state.part {
                state.part = part;
                changed.push(id);
            }
        }
        changed.into_iter().for_each(|id| members.announce(id));
    }
}

impl<K, T: Clone> Policy<K, T, State> for OverloadBackoffPolicy {
    fn join(&mut self, _id: Id, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let pause = Pause { until: AtomicU64::new(0), longest: self.relief.longest };
        State { part: 1.0, seen: endpoint.stats().outcomes(), pause: Arc::new(pause) }
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.pause) as _);
        Some(with_weight_share(endpoint, state.part))
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        if members.is_empty() {
            self.tick.stop();
            return Poll::Ready(());
        }
        while self.tick.poll(cx).is_ready() {
            self.look(members);
        }
        Poll::Pending
    }
}
