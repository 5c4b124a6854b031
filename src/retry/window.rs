use std::time::Duration;

use tokio::time::Instant;

/// A sum over the recent past. Amounts older than the window expire, a tenth of the window at a
/// time.
#[derive(Debug)]
pub(super) struct Window {
    slots: [i64; SLOTS],
    sum: i64,
    created: Instant,
    /// The number of the newest slot since `created`.
    tick: u64,
    slot_length: Duration,
}

const SLOTS: usize = 10;

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let slot_length = (length / SLOTS as u32).max(Duration::from_nanos(1));
        Self { slots: [0; SLOTS], sum: 0, created: Instant::now(), tick: 0, slot_length }
    }

    pub(super) fn add(&mut self, now: Instant, amount: i64) {
        self.expire(now);
        self.slots[self.tick as usize % SLOTS] += amount;
        self.sum += amount;
    }

    /// Adds `amount` to the slot of `then`, unless that slot has expired.
    pub(super) fn refund(&mut self, now: Instant, then: Instant, amount: i64) {
        self.expire(now);
        let tick = self.tick_of(then);
        if tick.saturating_add(SLOTS as u64) > self.tick && tick <= self.tick {
            self.slots[tick as usize % SLOTS] += amount;
            self.sum += amount;
        }
    }

    pub(super) fn sum(&mut self, now: Instant) -> i64 {
        self.expire(now);
        self.sum
    }

    fn tick_of(&self, time: Instant) -> u64 {
        let age = time.saturating_duration_since(self.created).as_nanos();
        u64::try_from(age / self.slot_length.as_nanos()).unwrap_or(u64::MAX)
    }

    fn expire(&mut self, now: Instant) {
        let tick = self.tick_of(now);
        // After a pause longer than the window, every slot expires once.
        for passed in self.tick..tick.min(self.tick + SLOTS as u64) {
            let oldest = (passed + 1) as usize % SLOTS;
            self.sum -= std::mem::take(&mut self.slots[oldest]);
        }
        // `now` may be earlier than at the last call, because threads read the clock before they
        // lock.
        self.tick = tick.max(self.tick);
    }
}
