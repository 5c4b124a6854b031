use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::stage::{
    members::{Id, Members},
    stage::{Policy, stage},
    timer::Interval,
    weight_share::with_weight_share,
};
use crate::{
    ConfigError,
    endpoint::{Endpoint, EndpointStats, OutcomeCounts},
    outcome::{Meter, Outcome, Sample},
};

/// How the weight of an overloaded endpoint falls and rises again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverloadBackoff {
    interval: Duration,
    floor: f64,
    max_pause: Duration,
}

impl OverloadBackoff {
    /// Adjusts weights each second, leaves at least 5 %, and honours a `Retry-After` of up to 60 s.
    #[must_use]
    pub fn new() -> Self {
        Self { interval: Duration::from_secs(1), floor: 0.05, max_pause: Duration::from_secs(60) }
    }

    setters! {
        /// Sets how often weights are adjusted. Default 1 s.
        pub fn interval(interval: Duration) => interval = interval;
        /// Sets the lowest share of its weight that an endpoint has. Default 0.05; from 0 to 1.
        pub fn floor(share: f64) => floor = share;
        /// Sets the longest `Retry-After` that is honoured; a longer one counts as `time`. Default
        /// 60 s.
        pub fn max_pause(time: Duration) => max_pause = time;
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("interval", self.interval)?;
        ConfigError::unless_within("floor", self.floor, [0.0, 1.0])
    }

    /// Returns the share of its weight that an endpoint has in the next interval.
    fn next_share(&self, share: f64, outcomes: &OutcomeCounts, is_paused: bool) -> f64 {
        let OutcomeCounts { success, application, overload, .. } = outcomes;
        let overloaded = *overload as f64 / (success + application + overload).max(1) as f64;
        if *overload > 0 {
            share * (1.0 - overloaded / 2.0)
        } else if is_paused {
            share
        } else {
            share + RECOVERY_STEP
        }
        .clamp(self.floor, 1.0)
    }
}

impl Default for OverloadBackoff {
    fn default() -> Self {
        Self::new()
    }
}

/// The share of its weight that an endpoint regains in an interval without an overload.
const RECOVERY_STEP: f64 = 0.1;

stage! {
    /// Lowers the weight of endpoints that answer with an overload (HTTP 429 or 503, a throttled
    /// function), without marking them unhealthy. The stream of
    /// [`HealthExt::overload_backoff`](crate::health::HealthExt::overload_backoff).
    ///
    /// In each interval, an endpoint's weight falls by half the share of its responses that
    /// reported an overload. If none did, it rises by a tenth of the full weight, but not while a
    /// `Retry-After` runs. Weights are relative: if all endpoints report the same share, nothing
    /// changes.
    ///
    /// **All weights are multiplied by 100**, as [`SlowStarted`](crate::health::SlowStarted) does.
    /// Strategies whose load is [`FailureAware`](crate::load::FailureAware) avoid overloaded
    /// endpoints on their own, request by request.
    ///
    /// Source: DCTCP (Alizadeh et al., 2010), whose window responds to the share of marked packets
    /// in the same way.
    OverloadBackedOff, OverloadBackoff, OverloadBackoffPolicy, State
}

#[derive(Debug)]
struct State {
    /// The share of its weight that the endpoint has now.
    share: f64,
    /// The outcomes up to the last interval.
    seen: OutcomeCounts,
    pause: Arc<Pause>,
}

/// Records until when an endpoint has asked for a pause with `Retry-After`.
#[derive(Debug)]
struct Pause {
    /// Nanoseconds of the age of the endpoint's statistics.
    until: AtomicU64,
    max: Duration,
}

impl Meter for Pause {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Outcome::Overload { retry_after: Some(pause) } = sample.outcome() {
            let pause = (*pause).min(self.max).as_nanos();
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
    backoff: OverloadBackoff,
    tick: Interval,
}

impl OverloadBackoffPolicy {
    fn new(backoff: OverloadBackoff) -> Self {
        Self { backoff, tick: Interval::new(backoff.interval) }
    }

    fn adjust_weights<K, T>(&self, members: &mut Members<K, T, State>) {
        let now = Instant::now();
        let mut changed = Vec::new();
        for (id, member) in members.iter_mut() {
            let (stats, state) = (member.endpoint.stats(), &mut member.state);
            let outcomes = stats.outcomes().since(&state.seen);
            state.seen = stats.outcomes();
            let is_paused = state.pause.until.load(Ordering::Relaxed) > stats.age(now);
            let share = self.backoff.next_share(state.share, &outcomes, is_paused);
            if share != state.share {
                state.share = share;
                changed.push(id);
            }
        }
        changed.into_iter().for_each(|id| members.queue_update(id));
    }
}

impl<K, T: Clone> Policy<K, T, State> for OverloadBackoffPolicy {
    fn added(&mut self, _id: Id, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let pause = Pause { until: AtomicU64::new(0), max: self.backoff.max_pause };
        State { share: 1.0, seen: endpoint.stats().outcomes(), pause: Arc::new(pause) }
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        let endpoint = endpoint.with_meter(Arc::clone(&state.pause) as _);
        Some(with_weight_share(endpoint, state.share))
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        if members.is_empty() {
            self.tick.reset();
            return Poll::Ready(());
        }
        while self.tick.poll(cx).is_ready() {
            self.adjust_weights(members);
        }
        Poll::Pending
    }
}
