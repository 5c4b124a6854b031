use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    endpoint::Vitals,
    outcome::{Meter, Sample},
};

/// How many execution environments of one endpoint are likely to be warm: the most requests that
/// were in flight at once, in this window of time or the one before.
#[derive(Debug)]
pub(super) struct Warmth {
    /// Half of how long an environment stays, in nanoseconds.
    window: u64,
    /// Number of the window (32 bits), peaks of the one before and of this one (16 bits each).
    peaks: AtomicU64,
    /// When a request ended last, as an age of the vitals.
    used: AtomicU64,
}

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
        let window = u64::try_from(idle_after.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
        Self { window, peaks: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    pub(super) fn environments(&self, vitals: &Vitals, now: Instant) -> u32 {
        let window = self.window_at(vitals.age(now));
        let peaks = Peaks::unpack(self.peaks.load(Ordering::Relaxed)).at(window);
        peaks.before.max(peaks.current).into()
    }

    /// When a request ended last, on the clock of all endpoints; `None` if none has.
    pub(super) fn last_used(&self, vitals: &Vitals) -> Option<Instant> {
        match self.used.load(Ordering::Relaxed) {
            0 => None,
            age => Some(vitals.at(age)),
        }
    }

    fn window_at(&self, age: u64) -> u32 {
        (age / self.window) as u32
    }
}

impl Meter for Warmth {
    fn record(&self, vitals: &Vitals, sample: &Sample<'_>) {
        let age = sample.age(vitals);
        self.used.store(age, Ordering::Relaxed);
        // This one has been counted out already.
        let busy = u16::try_from(vitals.outstanding() + 1).unwrap_or(u16::MAX);
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
        let (vitals, warmth, start) = (Vitals::new(), Warmth::new(10 * SECOND), Instant::now());
        (0..7).for_each(|_| vitals.begin());
        let record = |at: u32| {
            vitals.end(&Outcome::Success);
            let age = vitals.age(start + SECOND * at);
            warmth.record(&vitals, &Sample::new(&Outcome::Success).measured(age, age));
        };
        let warm = |at: u32| warmth.environments(&vitals, start + SECOND * at);
        (0..6).for_each(|_| record(1));
        assert_eq!(warm(2), 7);
        record(6);
        assert_eq!((warm(6), warm(9)), (7, 7));
        assert_eq!(warm(11), 1, "only the last was used since");
        assert_eq!(warm(20), 0);
        assert_eq!(warm(0), 7, "clocks that step back");
    }
}
