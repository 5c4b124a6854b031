use std::time::Duration;

use tokio::time::Instant;

/// A sum over the recent past: what is older than the window drops out, a tenth of it at a time.
#[derive(Debug)]
pub(crate) struct Window {
    slots: [i64; SLOTS],
    sum: i64,
    began: Instant,
    /// The newest slot's number since then.
    tick: u64,
    slot: Duration,
}

pub(crate) const SLOTS: usize = 10;

impl Window {
    pub(crate) fn new(length: Duration) -> Self {
        let slot = (length / SLOTS as u32).max(Duration::from_nanos(1));
        Self { slots: [0; SLOTS], sum: 0, began: Instant::now(), tick: 0, slot }
    }

    pub(crate) fn add(&mut self, now: Instant, amount: i64) {
        self.forget(now);
        self.slots[self.tick as usize % SLOTS] += amount;
        self.sum += amount;
    }

    /// Undoes what was taken out at `then`, if it is still in the sum.
    pub(crate) fn take_back(&mut self, now: Instant, then: Instant, amount: i64) {
        self.forget(now);
        let tick = self.tick_of(then);
        if tick.saturating_add(SLOTS as u64) > self.tick && tick <= self.tick {
            self.slots[tick as usize % SLOTS] += amount;
            self.sum += amount;
        }
    }

    pub(crate) fn sum(&mut self, now: Instant) -> i64 {
        self.forget(now);
        self.sum
    }

    fn tick_of(&self, time: Instant) -> u64 {
        let age = time.saturating_duration_since(self.began).as_nanos();
        u64::try_from(age / self.slot.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A clock that goes back changes nothing.
    fn forget(&mut self, now: Instant) {
        let tick = self.tick_of(now);
        for passed in self.tick..tick.min(self.tick + SLOTS as u64) {
            let oldest = (passed + 1) as usize % SLOTS;
            self.sum -= std::mem::take(&mut self.slots[oldest]);
        }
        self.tick = tick.max(self.tick);
    }
}
