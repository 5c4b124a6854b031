use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Outcome, Sample},
};

/// How many execution environments of one endpoint are likely to be warm: the most requests that
/// in flight at once when one succeeded, in this window of time or the one before. And whether it is failing.
#[derive(Debug)]
pub(super) struct Warmth {
    /// Half of how long an environment stays, in nanoseconds.
    window: u64,
    /// Number of the window (32 bits), peaks of the one before and of this one (16 bits each).
    peaks: AtomicU64,
    /// When a request succeeded last, as an age of the vitals.
    used: AtomicU64,
    /// How many in a row did not succeed: those given up count too, for a function that hangs may have no
    /// others.
    row: AtomicU32,
    /// When one did not succeed last.
    failed: AtomicU64,
}

/// The shortest time that environments stay: its half has a number of 32 bits.
const LEAST: Duration = Duration::from_secs(2);
/// Requests in a row without success that make an endpoint failing.
const FAILING: u32 = 3;
/// How long the first such row keeps requests away. Each further failure doubles it.
const FORGIVEN: Duration = Duration::from_secs(10);
/// How often it is doubled at the most: to 320 s.
const DOUBLED: u32 = 5;

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

    /// As they look in a later window.
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
        let window = u64::try_from(idle_after.max(LEAST).as_nanos() / 2).unwrap_or(u64::MAX);
        let [peaks, used, failed] = [0; 3].map(AtomicU64::new);
        Self { window, peaks, used, row: AtomicU32::new(0), failed }
    }

    pub(super) fn environments(&self, stats: &EndpointStats, now: Instant) -> u32 {
        let window = self.window_at(stats.age(now));
        let peaks = Peaks::unpack(self.peaks.load(Ordering::Relaxed)).at(window);
        peaks.before.max(peaks.current).into()
    }

    /// True from the third request in a row without success, for a time that doubles with each further one.
    pub(super) fn is_failing(&self, stats: &EndpointStats, now: Instant) -> bool {
        let row = self.row.load(Ordering::Relaxed);
        let Some(more) = row.checked_sub(FAILING) else { return false };
        let since = stats.age(now).saturating_sub(self.failed.load(Ordering::Relaxed));
        Duration::from_nanos(since) < FORGIVEN * (1 << more.min(DOUBLED))
    }

    /// When a request succeeded last, on the clock of all endpoints; `None` if none has.
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
            // It may have failed at once, without an environment.
            self.failed.store(age, Ordering::Relaxed);
            self.row.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.row.load(Ordering::Relaxed) != 0 {
            self.row.store(0, Ordering::Relaxed);
        }
        self.used.store(age, Ordering::Relaxed);
        // This one has been counted out already.
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
    use crate::outcome::Outcome;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn peaks_are_remembered_as_long_as_environments_stay() {
        let (stats, warmth, start) =
            (EndpointStats::new(), Warmth::new(10 * SECOND), Instant::now());
        (0..7).for_each(|_| stats.begin());
        let record = |at: u32| {
            stats.end(&Outcome::Success);
            let age = stats.age(start + SECOND * at);
            warmth.record(&stats, &Sample::new(&Outcome::Success).measured(age, age));
        };
        let warm = |at: u32| warmth.environments(&stats, start + SECOND * at);
        (0..6).for_each(|_| record(1));
        assert_eq!(warm(2), 7);
        record(6);
        assert_eq!((warm(6), warm(9)), (7, 7));
        assert_eq!(warm(11), 1, "only the last was used since");
        assert_eq!(warm(20), 0);
        assert_eq!(warm(0), 7, "clocks that step back");
    }

    #[test]
    fn only_success_shows_that_an_environment_is_warm() {
        let (stats, warmth, now) = (EndpointStats::new(), Warmth::new(10 * SECOND), Instant::now());
        let throttled = Outcome::Overload { retry_after: None };
        for outcome in [Outcome::TransportFailure, throttled, Outcome::Cancelled] {
            stats.begin();
            stats.end(&outcome);
            let age = stats.age(now);
            warmth.record(&stats, &Sample::new(&outcome).measured(age, age));
        }
        assert_eq!((warmth.environments(&stats, now), warmth.last_used(&stats)), (0, None));
    }

    #[test]
    fn a_row_of_failures_is_forgiven_later_each_time() {
        let (stats, warmth, start) =
            (EndpointStats::new(), Warmth::new(10 * SECOND), Instant::now());
        let end = |outcome: Outcome, at: u32| {
            let age = stats.age(start + SECOND * at);
            warmth.record(&stats, &Sample::new(&outcome).measured(age, age));
        };
        let fail = |at: u32| end(Outcome::Timeout, at);
        let failing = |at: u32| warmth.is_failing(&stats, start + SECOND * at);
        (0..2).for_each(|_| fail(100));
        assert!(!failing(100));
        end(Outcome::Cancelled, 100);
        assert!(failing(100) && failing(109) && !failing(111));
        fail(120);
        assert!(failing(139) && !failing(141));
        (0..100).for_each(|_| fail(200));
        assert!(failing(519) && !failing(521), "320 s at the most");
        end(Outcome::Success, 200);
        assert!(!failing(200), "it works again");
    }

    #[test]
    fn environments_that_would_not_stay_at_all_stay_two_seconds() {
        let (stats, warmth, now) =
            (EndpointStats::new(), Warmth::new(Duration::ZERO), Instant::now());
        stats.begin();
        stats.end(&Outcome::Success);
        let age = stats.age(now);
        warmth.record(&stats, &Sample::new(&Outcome::Success).measured(age, age));
        assert_eq!(warmth.environments(&stats, now + SECOND / 2), 1);
        assert_eq!(warmth.environments(&stats, now + 3 * SECOND), 0);
    }
}
