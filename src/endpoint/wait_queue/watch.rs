use std::{collections::BTreeMap, sync::Arc, task::Waker};

use super::{WaitQueue, queue::State};
use crate::sync::between_seq_cst;

/// Wakes a task when there is room or when the endpoints change, without a place in the queue.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Arc<WaitQueue>,
    id: u64,
    until: Until,
}

/// What a [`Watch`] is woken by.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// A free slot or a change of the endpoints.
    Room,
    /// A change of the endpoints.
    Change,
}

impl Watch {
    /// Watches for a free slot and for a change of the endpoints.
    pub(crate) fn for_room(queue: Arc<WaitQueue>) -> Self {
        Self::new(queue, Until::Room)
    }

    /// Watches for a change of the endpoints only.
    pub(crate) fn for_change(queue: Arc<WaitQueue>) -> Self {
        Self::new(queue, Until::Change)
    }

    fn new(queue: Arc<WaitQueue>, until: Until) -> Self {
        let id = queue.new_id();
        Self { queue, id, until }
    }

    fn watchers<'a>(&self, state: &'a mut State) -> &'a mut BTreeMap<u64, Waker> {
        match self.until {
            Until::Room => &mut state.room_watchers,
            Until::Change => &mut state.change_watchers,
        }
    }

    /// Registers for the next wake-up. The holder must look once after registering.
    pub(crate) fn register(&self, waker: &Waker) {
        self.queue.with(|state, wakers| {
            let watchers = self.watchers(state);
            if !watchers.get(&self.id).is_some_and(|known| known.will_wake(waker)) {
                wakers.replaced.extend(watchers.insert(self.id, waker.clone()));
            }
        });
        between_seq_cst();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.queue.with(|state, wakers| {
            wakers.replaced.extend(self.watchers(state).remove(&self.id));
        });
    }
}
