use std::{
    fmt::{self, Display},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::stage::{
    change::{Change, log_change},
    figures::{Figures, StageStatus},
    members::{Id, Member, Members},
    stage::{Policy, Removal, stage},
    timer::Interval,
    weight_share::with_weight_share,
};
use crate::{
    ConfigError,
    endpoint::{Endpoint, EndpointStats, OutcomeCounts},
    escape::Escaped,
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
    OverloadBackedOff, OverloadBackoff, OverloadBackoffPolicy, State, BackoffFigures
}

#[derive(Debug)]
struct State {
    /// The share of its weight that the endpoint has now.
    share: f64,
    /// When the share fell below 1, or was 1 again.
    since: Instant,
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
    figures: BackoffFigures,
}

impl OverloadBackoffPolicy {
    fn new(backoff: OverloadBackoff) -> Self {
        let figures = BackoffFigures::new("overload backoff");
        Self { backoff, tick: Interval::new(backoff.interval), figures }
    }

    fn adjust_weights<K: Display, T>(&self, members: &mut Members<K, T, State>) {
        let now = Instant::now();
        let mut changed = Vec::new();
        for (id, Member { key, endpoint, state, .. }) in members.iter_mut() {
            let stats = endpoint.stats();
            let outcomes = stats.outcomes().since(&state.seen);
            state.seen = stats.outcomes();
            let is_paused = state.pause.until.load(Ordering::Relaxed) > stats.age(now);
            let share = self.backoff.next_share(state.share, &outcomes, is_paused);
            if share != state.share {
                self.change_share(id, key, state, share, &outcomes);
                changed.push(id);
            }
        }
        changed.into_iter().for_each(|id| members.queue_update(id));
    }

    fn change_share(
        &self,
        id: Id,
        endpoint: &dyn Display,
        state: &mut State,
        share: f64,
        outcomes: &OutcomeCounts,
    ) {
        let before = std::mem::replace(&mut state.share, share);
        let since = state.since;
        if (before < 1.0) != (share < 1.0) {
            state.since = Instant::now();
            let stage = &*self.figures.name();
            let overloads = format!("{} overload responses", outcomes.overload);
            let (from, to, cause) = if share < 1.0 {
                ("full_weight", "backing_off", &*overloads)
            } else {
                ("backing_off", "full_weight", "no more overload responses")
            };
            let change = Change { stage, endpoint, from, to, cause: &cause, since };
            log_change!("overload backoff changed", change);
        }
        self.figures.edit(id, |counts, figures| {
            counts.overloads += outcomes.overload;
            counts.lowered += u64::from(share < before);
            (figures.weight_share, figures.since) = (share, state.since);
        });
    }
}

impl<K: Display, T: Clone> Policy<K, T, State> for OverloadBackoffPolicy {
    fn added(&mut self, id: Id, key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let pause = Pause { until: AtomicU64::new(0), max: self.backoff.max_pause };
        let since = Instant::now();
        let figures =
            EndpointBackoff { endpoint: key.to_string().into(), weight_share: 1.0, since };
        self.figures.add(id, figures);
        let seen = endpoint.stats().outcomes();
        State { share: 1.0, since, seen, pause: Arc::new(pause) }
    }

    fn removed(&mut self, id: Id, _member: &mut Member<K, T, State>) -> Removal {
        self.figures.remove(id);
        Removal::Now
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

/// A handle that reports the figures of an [`OverloadBackedOff`].
pub type BackoffFigures = Figures<BackoffCounts, EndpointBackoff>;

/// The figures of an [`OverloadBackedOff`] at one moment.
pub type BackoffStatus = StageStatus<BackoffCounts, EndpointBackoff>;

/// How often weights were lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BackoffCounts {
    /// How often the weight of an endpoint was lowered.
    pub lowered: u64,
    /// The overload responses for which weights were lowered.
    pub overloads: u64,
}

/// What an [`OverloadBackedOff`] knows about an endpoint.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointBackoff {
    /// The key of the endpoint, as text.
    pub endpoint: Arc<str>,
    /// The share of its weight that the endpoint has, from 0 to 1.
    pub weight_share: f64,
    /// When the share fell below 1, or was 1 again.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::seconds::since", rename = "since_seconds")
    )]
    pub since: Instant,
}

impl Display for BackoffCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weights lowered {} times for {} overloads", self.lowered, self.overloads)
    }
}

impl Display for EndpointBackoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, since) = (self.weight_share * 100.0, self.since.elapsed());
        write!(f, "{}: {share:.0} % of its weight, since {since:.1?}", Escaped(&self.endpoint))
    }
}
