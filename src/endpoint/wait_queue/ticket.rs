use std::{sync::Arc, task::Waker};

use super::{Slots, WaitQueue, queue::Offer};
use crate::sync::between_seq_cst;

/// A request's place in the queue. Dropping it leaves the queue and passes the offers on.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<WaitQueue>,
    id: u64,
}

/// What a queued request may use when it picks again.
///
/// The request must end each look with [`Ticket::decline`], unless it leaves the queue.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The version of the endpoints, and the number of slots that had become free.
    pub(super) version: u64,
    pub(super) freed: u64,
    /// The slots that are offered to the request.
    pub(crate) offers: Vec<Arc<Slots>>,
    /// The slots of the full endpoint that was picked last.
    pub(crate) wanted: Option<Arc<Slots>>,
}

/// The result of taking an offered slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Taken,
    /// An older request decides first; this one has been woken again.
    Ceded,
    /// The offer has been withdrawn.
    Withdrawn,
}

impl Ticket {
    /// Joins at the end of the queue. The holder must look once after joining.
    pub(crate) fn join(queue: &Arc<WaitQueue>) -> Self {
        let id = queue.with(|state, _| state.join());
        between_seq_cst();
        Self { queue: Arc::clone(queue), id }
    }

    /// Joins as [`join`](Self::join) does, or returns `None` if `max_waiting` requests are queued.
    pub(crate) fn try_join(queue: &Arc<WaitQueue>, max_waiting: usize) -> Option<Self> {
        let id = queue.with(|state, _| (state.line.len() < max_waiting).then(|| state.join()))?;
        between_seq_cst();
        Some(Self { queue: Arc::clone(queue), id })
    }

    /// Registers the waker, and returns what the request may use if it was woken since the last
    /// look.
    pub(crate) fn look(&self, waker: &Waker) -> Option<Look> {
        self.queue.with(|state, wakers| {
            let mut polls_again = false;
            if state.line.get(&self.id)?.is_woken() {
                state.restore_lost(self.id);
                polls_again = state.reclaim(self.id, wakers);
            }
            let waiter = state.line.get_mut(&self.id)?;
            let was_woken = waiter.is_woken();
            if !waiter.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                wakers.replaced.extend(waiter.waker.replace(waker.clone()));
            }
            let offers = waiter.offers.iter().map(|offer| Arc::clone(&offer.slots)).collect();
            let (version, freed) = (state.version, state.freed);
            if polls_again {
                state.wake(self.id, wakers);
            }
            was_woken.then_some(Look { version, freed, offers, wanted: None })
        })
    }

    /// Takes an offered slot. The request stays in the queue until the ticket is dropped.
    pub(crate) fn take(&self, slots: &Arc<Slots>) -> Take {
        self.queue.with(|state, wakers| state.take(self.id, slots, wakers))
    }

    /// Ends a look: declines the offers that the request saw and did not take.
    pub(crate) fn decline(&self, look: Look) {
        if look.offers.is_empty() && look.wanted.is_none() {
            return;
        }
        self.queue.with(|state, wakers| {
            if let Some(wanted) = &look.wanted {
                state.want(self.id, wanted, wakers);
            }
            if look.offers.is_empty() {
                return;
            }
            // A slot that became free during the look was not offered to this request, because it
            // held another offer; and its pick may have been earlier. So it looks again.
            if state.freed != look.freed {
                state.wake(self.id, wakers);
            }
            for slots in look.offers {
                if let Some(offer) = state.withdraw(self.id, &slots) {
                    state.decline(self.id, offer, look.version, wakers);
                }
            }
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.with(|state, wakers| {
            // A slot that it has ceded must not stay with a holder that is never polled. One that
            // it only wanted is wanted no more.
            if state.is_ceding(self.id) {
                state.reclaim(self.id, wakers);
            }
            state.unasked.remove(&self.id);
            state.busy.remove(&self.id);
            let Some(waiter) = state.line.remove(&self.id) else { return };
            wakers.replaced.extend(waiter.waker);
            for offer in waiter.offers {
                state.hand_over(Offer { vain_cedes: 0, ..offer }, wakers);
            }
            if state.line.is_empty() {
                state.declined.clear();
            }
        });
    }
}
