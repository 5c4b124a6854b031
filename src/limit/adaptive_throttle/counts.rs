use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts events of the recent past without a lock: ten slots, each with the tick it is about. At the
/// turn of a tick an event may be lost.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; SLOTS]);

pub(super) const SLOTS: usize = 10;
/// The tick is in the high half of a slot, the count in the low one.
const TICK: u32 = 32;

impl Counts {
    pub(super) fn add(&self, tick: u32) {
        let slot = &self.0[tick as usize % SLOTS];
        let seen = slot.load(Relaxed);
        if (seen >> TICK) as u32 == tick {
            slot.fetch_add(1, Relaxed);
        } else {
            let fresh = u64::from(tick) << TICK | 1;
            if slot.compare_exchange(seen, fresh, Relaxed, Relaxed).is_err() {
                slot.fetch_add(1, Relaxed);
            }
        }
    }

    /// In this tick and the nine before.
    pub(super) fn sum(&self, tick: u32) -> u64 {
        let recent = |slot: &AtomicU64| {
            let seen = slot.load(Relaxed);
            let age = tick.wrapping_sub((seen >> TICK) as u32);
            if (age as usize) < SLOTS { seen & u64::from(u32::MAX) } else { 0 }
        };
        self.0.iter().map(recent).sum()
    }
}
