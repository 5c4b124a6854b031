use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Outcome, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Observe, observed_pick},
    },
};

/// Keeps few execution environments warm: prefers endpoints with an idle environment, and grows
/// where most are warm.
///
/// Lambda keeps an environment for some minutes after its last request. A request that finds no
/// idle environment has a cold start. Traffic spread over several functions needs environments for
/// the peaks of each; packed on one function it needs fewer in total, and those stay warm. This
/// pays off where spread traffic would at times be too thin to keep each function warm. Where every
/// function stays warm, spreading absorbs bursts better, and affects fewer requests by a failure:
/// use [`RoundRobin`](crate::strategy::RoundRobin) or
/// [`LeastLoaded`](crate::strategy::LeastLoaded) there.
///
/// Lambda does not report the number of warm environments. The estimate is the most requests
/// recently in flight when one succeeded; requests of other callers are not seen. Among equally
/// warm endpoints, the one used last is preferred. Weights are ignored, except for 0.
///
/// Growth is bounded for endpoints that don't respond. An endpoint whose requests in flight are
/// twice its warm environments (at least 10 above them) gets more only if all endpoints are like
/// that. After three consecutive requests that failed or were cancelled, an endpoint gets requests
/// only if no other can take them, for 10 s. Each further one doubles that time, up to 320 s.
///
/// Examines all endpoints for each pick, without a lock or an allocation.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pack {
    idle_after: Duration,
}

impl Pack {
    /// Creates the strategy; environments stay warm for five minutes.
    pub const fn new() -> Self {
        Self { idle_after: Duration::from_secs(300) }
    }

    /// Sets how long an environment is assumed to stay warm without a request, accurate to half of
    /// `time`. Default 5 min; the minimum of 2 s applies to shorter times.
    pub const fn warm_for(mut self, time: Duration) -> Self {
        self.idle_after = time;
        self
    }
}

impl Default for Pack {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for Pack {
    type Picker = PackPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<PackPicker> {
        Built::new(PackPicker { candidates: candidates.clone() }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Warmth::new(self.idle_after)))
    }
}

/// The picker of [`Pack`].
#[expect(unnameable_types, reason = "named as <Pack as Strategy>::Picker")]
#[derive(Debug)]
pub struct PackPicker {
    candidates: Candidates,
}

impl PackPicker {
    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("pack");
        observer.say(|| "an idle warm environment, where most are warm".to_owned());
        if self.candidates.len() < 2 {
            return self.candidates.get(0);
        }
        let now = context.now();
        let accepted = self.candidates.iter().filter(|candidate| context.accepts(candidate));
        let warmest = accepted.max_by_key(|candidate| {
            let stats = candidate.stats();
            let Some(warmth) = candidate.meter::<Warmth>() else { return Rank::default() };
            let (warm, outstanding) = (warmth.environments(stats, now), stats.outstanding());
            let works = !warmth.is_failing(stats, now);
            // The most idle environments are the least score.
            observer.compare(candidate, || f64::from(outstanding) - f64::from(warm));
            observer.note(candidate, || {
                let failing = if works { "" } else { ", failing" };
                format!("{warm} warm environments{failing}")
            });
            Rank {
                works,
                has_idle: warm > outstanding,
                may_grow: outstanding < warm + warm.max(MIN_GROWTH),
                warm,
                last_used: warmth.last_used(stats),
            }
        });
        warmest.or_else(|| self.candidates.fallback(context))
    }
}

impl<Req> Pick<Req> for PackPicker {
    observed_pick!(without Req);
}

/// The number of requests that may wait for environments to start, if fewer are warm.
const MIN_GROWTH: u32 = 10;

/// Compared field by field, the most important first.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    works: bool,
    has_idle: bool,
    may_grow: bool,
    warm: u32,
    last_used: Option<Instant>,
}

/// Estimates how many execution environments of one endpoint are warm: the most requests in flight
/// when one succeeded, in this time window or the one before. Also tells whether the endpoint is
/// failing.
///
/// The fields are estimates, read and written in relaxed order: a pick may see one without the
/// other.
#[derive(Debug)]
pub(super) struct Warmth {
    /// Half of the time that an environment stays warm, in nanoseconds.
    window: u64,
    /// The number of the window (32 bits), the peaks of the previous and of this window (16 bits
    /// each).
    peaks: AtomicU64,
    /// The time of the last success, as an age of the stats; 0 before the first.
    used: AtomicU64,
    /// Consecutive requests without success. Cancelled ones count too, because a function that
    /// hangs may have no others.
    consecutive_failures: AtomicU32,
    /// The time of the last request without success.
    failed: AtomicU64,
}

/// The shortest time that environments stay warm, so that the number of a window has 32 bits.
const MIN_WARM_TIME: Duration = Duration::from_secs(2);
/// The number of consecutive requests without success that make an endpoint failing.
const FAILING_AFTER: u32 = 3;
/// How long an endpoint is failing at first. Each further failure doubles it.
const FAILING_FOR: Duration = Duration::from_secs(10);
/// How often the time is doubled at most: up to 320 s.
const MAX_DOUBLINGS: u32 = 5;

#[derive(Clone, Copy)]
struct Peaks {
    window: u32,
    before: u16,
    current: u16,
}

impl Peaks {
    fn unpack(word: u64) -> Self {
        Self { window: (word >> 32) as u32, before: (word >> 16) as u16, current: word as u16 }
    }

    fn pack(self) -> u64 {
        u64::from(self.window) << 32 | u64::from(self.before) << 16 | u64::from(self.current)
    }

    /// Returns the peaks as they count in a later window.
    fn at(self, window: u32) -> Self {
        match window.saturating_sub(self.window) {
            0 => self,
            1 => Self { window, before: self.current, current: 0 },
            _ => Self { window, before: 0, current: 0 },
        }
    }
}

impl Warmth {
    pub(super) fn new(idle_after: Duration) -> Self {
        let idle_after = idle_after.max(MIN_WARM_TIME);
        let window = u64::try_from(idle_after.as_nanos() / 2).unwrap_or(u64::MAX);
        let [peaks, used, failed] = [0; 3].map(AtomicU64::new);
        Self { window, peaks, used, consecutive_failures: AtomicU32::new(0), failed }
    }

    pub(super) fn environments(&self, stats: &EndpointStats, now: Instant) -> u32 {
        let window = self.window_at(stats.age(now));
        let peaks = Peaks::unpack(self.peaks.load(Ordering::Relaxed)).at(window);
        peaks.before.max(peaks.current).into()
    }

    /// Returns true from the third consecutive request without success, for a time that doubles
    /// with each further one.
    pub(super) fn is_failing(&self, stats: &EndpointStats, now: Instant) -> bool {
        let failures = self.consecutive_failures.load(Ordering::Relaxed);
        let Some(further) = failures.checked_sub(FAILING_AFTER) else { return false };
        let since = stats.age(now).saturating_sub(self.failed.load(Ordering::Relaxed));
        Duration::from_nanos(since) < FAILING_FOR * (1 << further.min(MAX_DOUBLINGS))
    }

    /// Returns the time of the last success, comparable across endpoints; `None` before the first.
    pub(super) fn last_used(&self, stats: &EndpointStats) -> Option<Instant> {
        match self.used.load(Ordering::Relaxed) {
            0 => None,
            age => Some(stats.at(age)),
        }
    }

    fn window_at(&self, age: u64) -> u32 {
        (age / self.window) as u32
    }
}

impl Meter for Warmth {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let age = sample.age(stats);
        if *sample.outcome() != Outcome::Success {
            // A failure does not show a warm environment: it may have been immediate.
            self.failed.store(age, Ordering::Relaxed);
            self.consecutive_failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Checked first, since a load is cheaper than a store to a shared cache line.
        if self.consecutive_failures.load(Ordering::Relaxed) != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
        self.used.store(age, Ordering::Relaxed);
        // This request is no longer counted as outstanding.
        let busy = u16::try_from(stats.outstanding() + 1).unwrap_or(u16::MAX);
        let window = self.window_at(age);
        let raise = |word| {
            let peaks = Peaks::unpack(word);
            let now = peaks.at(window);
            let raised = Peaks { current: now.current.max(busy), ..now }.pack();
            (raised != word).then_some(raised)
        };
        let _ = self.peaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise);
    }

    fn needs_latency(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn warmth(warm_for: Duration) -> (EndpointStats, Warmth, Instant) {
        (EndpointStats::new(), Warmth::new(warm_for), Instant::now())
    }

    /// Ends a request, `at` seconds after the start.
    fn end((stats, warmth, start): &(EndpointStats, Warmth, Instant), outcome: &Outcome, at: u32) {
        stats.end(outcome);
        let age = stats.age(*start + SECOND * at);
        warmth.record(stats, &Sample::new(outcome).measured(age, age));
    }

    #[test]
    fn peaks_are_remembered_as_long_as_environments_stay_warm() {
        let all @ (stats, warmth, start) = &warmth(10 * SECOND);
        (0..7).for_each(|_| stats.begin());
        let warm = |at: u32| warmth.environments(stats, *start + SECOND * at);
        (0..6).for_each(|_| end(all, &Outcome::Success, 1));
        assert_eq!(warm(2), 7);
        end(all, &Outcome::Success, 6);
        assert_eq!((warm(6), warm(9)), (7, 7));
        assert_eq!(warm(11), 1, "only the last was used since");
        assert_eq!(warm(20), 0);
        assert_eq!(warm(0), 7, "a clock that steps back");
    }

    #[test]
    fn only_success_shows_that_an_environment_is_warm() {
        let all @ (stats, warmth, start) = &warmth(10 * SECOND);
        let throttled = Outcome::Overload { retry_after: None };
        for outcome in [Outcome::TransportFailure, throttled, Outcome::Cancelled] {
            stats.begin();
            end(all, &outcome, 0);
        }
        assert_eq!((warmth.environments(stats, *start), warmth.last_used(stats)), (0, None));
    }

    #[test]
    fn consecutive_failures_keep_an_endpoint_failing_longer_each_time() {
        let all @ (stats, warmth, start) = &warmth(10 * SECOND);
        let end = |outcome: Outcome, at| {
            stats.begin();
            end(all, &outcome, at);
        };
        let failing = |at: u32| warmth.is_failing(stats, *start + SECOND * at);
        (0..2).for_each(|_| end(Outcome::Timeout, 100));
        assert!(!failing(100));
        end(Outcome::Cancelled, 100);
        assert!(failing(100) && failing(109) && !failing(111));
        end(Outcome::Timeout, 120);
        assert!(failing(139) && !failing(141));
        (0..100).for_each(|_| end(Outcome::Timeout, 200));
        assert!(failing(519) && !failing(521), "at most 320 s");
        end(Outcome::Success, 200);
        assert!(!failing(200), "it works again");
    }

    #[test]
    fn environments_stay_warm_for_at_least_two_seconds() {
        let all @ (stats, warmth, start) = &warmth(Duration::ZERO);
        stats.begin();
        end(all, &Outcome::Success, 0);
        assert_eq!(warmth.environments(stats, *start + SECOND / 2), 1);
        assert_eq!(warmth.environments(stats, *start + 3 * SECOND), 0);
    }
}
