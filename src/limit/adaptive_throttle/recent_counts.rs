use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of slots of [`RecentCounts`].
pub(super) const SLOTS: usize = 10;

/// Counts the events of the last ten ticks without a lock. At the change of a tick an event may be
/// lost.
///
/// Each slot holds its tick in the high half and its count in the low half, so that one atomic
/// operation reads or replaces both.
#[derive(Debug, Default)]
pub(super) struct RecentCounts([AtomicU64; SLOTS]);

const TICK_SHIFT: u32 = 32;

impl RecentCounts {
    pub(super) fn add(&self, tick: u32) {
        let slot = &self.0[tick as usize % SLOTS];
        let seen = slot.load(Relaxed);
        if (seen >> TICK_SHIFT) as u32 == tick {
            slot.fetch_add(1, Relaxed);
        } else {
            // The first event of a tick replaces the slot. If another thread was first, its slot
            // counts.
            let fresh = u64::from(tick) << TICK_SHIFT | 1;
            if slot.compare_exchange(seen, fresh, Relaxed, Relaxed).is_err() {
                slot.fetch_add(1, Relaxed);
            }
        }
    }

    /// Returns the number of events in `tick` and the nine ticks before it.
    pub(super) fn sum(&self, tick: u32) -> u64 {
        let recent = |slot: &AtomicU64| {
            let seen = slot.load(Relaxed);
            let age = tick.wrapping_sub((seen >> TICK_SHIFT) as u32);
            if (age as usize) < SLOTS { seen & u64::from(u32::MAX) } else { 0 }
        };
        self.0.iter().map(recent).sum()
    }
}
