use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    task::Waker,
};

use super::{Slots, Take, declined::Declined};
use crate::sync::{AtomicUsize, Mutex, Ordering, between_seq_cst, lock};

/// The most older requests that a request lets decide before it takes a slot, and the most holders
/// of offers that it checks for one that does not come.
const MAX_REQUESTS_CHECKED: usize = 16;
/// Of this many released slots, one is offered to a request that has declined its endpoint before.
const REMIND_EVERY: u64 = 16;
/// The polls of a request that has ceded a slot that the holder has, after the first, if the holder
/// has itself ceded another slot and waits for the decision. Each link of such a chain needs one.
const CEDED_EXTRA_POLLS: u8 = 4;
/// The most times that a request cedes a slot to a request that is not polled.
const MAX_VAIN_CEDES: u8 = 16;
/// The polls of the waiting request that the holder of a wanted slot has, after the first, to come
/// and decide. One is enough with any executor that polls each woken task before it polls one
/// twice.
const HOLDER_EXTRA_POLLS: u8 = 1;

/// The requests of one balancer that wait for a slot, and the tasks that watch for one. The
/// [module](super) describes the protocol.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    state: Mutex<State>,
    /// The lengths of `line` and `room_watchers`, which a released slot reads without the lock.
    queued: AtomicUsize,
    watching: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    last_id: u64,
    /// The queued requests by the id of their tickets, which is their order of arrival.
    pub(super) line: BTreeMap<u64, Waiter>,
    /// The queued requests without an offer.
    pub(super) unasked: BTreeSet<u64>,
    /// The queued requests with offers.
    pub(super) busy: BTreeSet<u64>,
    /// The requests that have declined an endpoint, by the id of its slots.
    pub(super) declined: HashMap<SlotsId, Declined>,
    /// Counts the changes of the endpoints: a pick from before one declines nothing after it.
    pub(super) version: u64,
    /// The number of slots released, and of those that became free because all declined them.
    released: u64,
    pub(super) freed: u64,
    /// The last request that was reminded.
    reminded: u64,
    /// Woken by a free slot and by a change of the endpoints.
    pub(super) room_watchers: BTreeMap<u64, Waker>,
    /// Woken by a change of the endpoints.
    pub(super) change_watchers: BTreeMap<u64, Waker>,
}

/// The number of an endpoint's slots, from the same counter as tickets.
type SlotsId = u64;

/// A queued request.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    /// `None` if the request was woken and has not been polled since.
    pub(super) waker: Option<Waker>,
    pub(super) offers: Vec<Offer>,
    /// The slot that this request waits for another one to decide about.
    awaited: Option<Awaited>,
    /// The endpoints of which it has lost an offer before it was polled. Until then it counts as
    /// having declined them.
    lost: Vec<SlotsId>,
}

/// A slot that another request, the holder, decides about before the waiting one is polled again.
#[derive(Debug)]
struct Awaited {
    slots: Arc<Slots>,
    holder: u64,
    /// The id of the offer: one that the holder gets later is not awaited.
    offer: u64,
    reason: AwaitReason,
}

#[derive(Clone, Copy, Debug)]
enum AwaitReason {
    /// The request has ceded the slot to the holder, which is older, and gets it back if the holder
    /// does not decide.
    Ceded {
        /// The polls of the waiting request that the holder still has, while it waits for another
        /// decision itself.
        polls_left: u8,
    },
    /// The request has picked the endpoint, which is full. If the holder is not polled, the slot
    /// goes to the next request.
    Wanted {
        /// The polls of the waiting request that the holder still has.
        polls_left: u8,
    },
}

/// A used slot that is kept for a queued request.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) slots: Arc<Slots>,
    /// Another one each time that the slot is offered.
    pub(super) id: u64,
    /// The number of older requests that were asked in vain to decide about the slot, because they
    /// were not polled.
    pub(super) vain_cedes: u8,
}

impl Waiter {
    pub(super) fn is_woken(&self) -> bool {
        self.waker.is_none()
    }

    fn holds(&self, offer: u64) -> bool {
        self.offers.iter().any(|held| held.id == offer)
    }

    fn position_of(&self, slots: &Arc<Slots>) -> Option<usize> {
        self.offers.iter().position(|offer| Arc::ptr_eq(&offer.slots, slots))
    }
}

/// The wakers to wake and those to drop once the lock is released: both may run foreign code.
#[derive(Default)]
pub(super) struct Wakers {
    woken: Vec<Waker>,
    pub(super) replaced: Vec<Waker>,
}

impl State {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Adds a request at the end of the queue, and returns its id.
    pub(super) fn join(&mut self) -> u64 {
        let id = self.next_id();
        // Without a waker, as if woken: the first look returns offers and registers.
        self.line.insert(id, Waiter::default());
        self.unasked.insert(id);
        id
    }

    /// Returns the requests that have declined the endpoint, tidied up: requests that have left are
    /// removed, and `up_to` is as high as it can be.
    fn declined(&mut self, slots: &Arc<Slots>) -> &mut Declined {
        let declined = self.declined.entry(slots.id()).or_default();
        // Removes the requests that have left only when they are as many as those that have not, so
        // that the cost per request is constant.
        if declined.above.len() + declined.again.len() > 2 * self.line.len() {
            declined.above.retain(|id| self.line.contains_key(id));
            declined.again.retain(|id| self.line.contains_key(id));
        }
        while !declined.above.is_empty() {
            let next = self.line.range((Bound::Excluded(declined.up_to), Bound::Unbounded)).next();
            match next {
                Some((id, _)) if declined.above.remove(id) => declined.up_to = *id,
                Some(_) => break,
                None => declined.above.clear(),
            }
        }
        declined
    }

    /// Hands over a slot that a request has released.
    fn released(&mut self, offer: Offer, wakers: &mut Wakers) {
        self.released += 1;
        if self.released % REMIND_EVERY == 0 {
            let next = self.next_to_remind();
            if let Some(id) = next.filter(|&id| self.declined(&offer.slots).contains(id)) {
                return self.offer(id, offer, wakers);
            }
        }
        self.hand_over(offer, wakers);
    }

    /// Returns the first request that may want a slot of this endpoint.
    ///
    /// Requests that hold offers of other endpoints come last. They are asked at all so that no
    /// younger request, or newcomer that finds the slot free, overtakes them.
    fn next_to_ask(&mut self, slots: &Arc<Slots>) -> Option<u64> {
        self.declined(slots);
        let declined = self.declined.get(&slots.id())?;
        let not_asked = (Bound::Excluded(declined.up_to), Bound::Unbounded);
        let may_want = |id: &&u64| !declined.above.contains(id);
        // The requests in `again` are older than all others that have not declined the endpoint.
        let again = declined.again.iter().find(|id| self.unasked.contains(id));
        let next = again.or_else(|| self.unasked.range(not_asked).find(may_want));
        let next = next.or_else(|| {
            let has_other = |id: &&u64| {
                self.line.get(id).is_some_and(|waiter| waiter.position_of(slots).is_none())
            };
            self.busy.range(not_asked).find(|id| may_want(id) && has_other(id))
        });
        next.copied()
    }

    /// Offers a used slot to the first request that may want it, or else frees it.
    pub(super) fn hand_over(&mut self, offer: Offer, wakers: &mut Wakers) {
        match self.next_to_ask(&offer.slots) {
            Some(id) => self.offer(id, offer, wakers),
            None => {
                offer.slots.free();
                self.freed += 1;
                wakers.woken.extend(std::mem::take(&mut self.room_watchers).into_values());
                if let Some(id) = self.next_to_remind() {
                    self.wake(id, wakers);
                }
            }
        }
    }

    /// Returns a request that may have declined an endpoint that it would take now.
    ///
    /// It is another one each time, so that no request starves under a picker that does not always
    /// pick what it accepts. The order is from younger to older requests: in the other order, the
    /// requests that keep arriving would be reminded before the oldest one's turn comes again.
    fn next_to_remind(&mut self) -> Option<u64> {
        let next = self.unasked.range(..self.reminded).next_back();
        let next = next.or_else(|| self.unasked.last()).copied();
        self.reminded = next.unwrap_or(0);
        next
    }

    fn wake_all(&mut self, wakers: &mut Wakers) {
        self.wake_all_for_room(wakers);
        wakers.woken.extend(std::mem::take(&mut self.change_watchers).into_values());
    }

    fn wake_all_for_room(&mut self, wakers: &mut Wakers) {
        wakers.woken.extend(self.line.values_mut().filter_map(|waiter| waiter.waker.take()));
        wakers.woken.extend(std::mem::take(&mut self.room_watchers).into_values());
    }

    pub(super) fn wake(&mut self, id: u64, wakers: &mut Wakers) {
        if let Some(waiter) = self.line.get_mut(&id) {
            wakers.woken.extend(waiter.waker.take());
        }
    }

    /// Offers a used slot to a queued request.
    fn offer(&mut self, id: u64, mut offer: Offer, wakers: &mut Wakers) {
        offer.id = self.next_id();
        if let Some(waiter) = self.line.get_mut(&id) {
            waiter.offers.push(offer);
            self.unasked.remove(&id);
            self.busy.insert(id);
            self.wake(id, wakers);
        }
    }

    /// Takes an offer back from a queued request.
    pub(super) fn withdraw(&mut self, id: u64, slots: &Arc<Slots>) -> Option<Offer> {
        let waiter = self.line.get_mut(&id)?;
        let position = waiter.position_of(slots)?;
        let offer = waiter.offers.swap_remove(position);
        if waiter.offers.is_empty() {
            self.unasked.insert(id);
            self.busy.remove(&id);
        }
        Some(offer)
    }

    /// Records that the request declines an endpoint, and hands the slot over to the next one.
    /// `version` is that of the endpoints that the request picked from.
    pub(super) fn decline(&mut self, id: u64, offer: Offer, version: u64, wakers: &mut Wakers) {
        if version == self.version {
            self.declined(&offer.slots).add(id);
        }
        self.hand_over(Offer { vain_cedes: 0, ..offer }, wakers);
    }

    /// Takes a slot for the request. If an older request has yet to be asked, offers it to that one
    /// first.
    pub(super) fn take(&mut self, id: u64, slots: &Arc<Slots>, wakers: &mut Wakers) -> Take {
        let Some(offer) = self.withdraw(id, slots) else {
            return Take::Withdrawn;
        };
        let may_cede = offer.vain_cedes < MAX_VAIN_CEDES;
        let older = if may_cede { self.first_to_ask(slots, id) } else { None };
        let Some(older) = older else {
            return Take::Taken;
        };
        // Wakes the older one first, so that an executor with one queue polls it first.
        self.offer(older, offer, wakers);
        let offer = self.last_id;
        if let Some(waiter) = self.line.get_mut(&id) {
            let slots = Arc::clone(slots);
            let reason = AwaitReason::Ceded { polls_left: CEDED_EXTRA_POLLS };
            waiter.awaited = Some(Awaited { slots, holder: older, offer, reason });
        }
        self.wake(id, wakers);
        Take::Ceded
    }

    /// Returns the first request before `id` that has not been asked about this endpoint.
    fn first_to_ask(&mut self, slots: &Arc<Slots>, id: u64) -> Option<u64> {
        self.declined(slots);
        let declined = self.declined.get(&slots.id())?;
        if declined.up_to + 1 >= id {
            return None;
        }
        let older = self.line.range((Bound::Excluded(declined.up_to), Bound::Excluded(id)));
        let mut unasked = older.take(MAX_REQUESTS_CHECKED).filter(|(id, waiter)| {
            !declined.above.contains(id) && waiter.position_of(slots).is_none()
        });
        unasked.next().map(|(&id, _)| id)
    }

    /// Records that the request has picked this endpoint, which is full, so that it will be asked.
    ///
    /// If a slot there is offered to a request that was woken and has not been polled, this one is
    /// woken again. The holder loses the slot unless it is polled before
    /// [`reclaim`](Self::reclaim).
    pub(super) fn want(&mut self, id: u64, slots: &Arc<Slots>, wakers: &mut Wakers) {
        if let Some(declined) = self.declined.get_mut(&slots.id()) {
            declined.remove(id);
        }
        let others = self.busy.iter().take(MAX_REQUESTS_CHECKED).filter(|&&holder| holder != id);
        let held = others.copied().find_map(|holder| {
            let waiter = self.line.get(&holder).filter(|waiter| waiter.is_woken())?;
            Some((holder, waiter.offers[waiter.position_of(slots)?].id))
        });
        let (Some((holder, offer)), Some(waiter)) = (held, self.line.get_mut(&id)) else { return };
        if waiter.awaited.as_ref().is_none_or(|known| known.offer != offer) {
            let slots = Arc::clone(slots);
            let reason = AwaitReason::Wanted { polls_left: HOLDER_EXTRA_POLLS };
            waiter.awaited = Some(Awaited { slots, holder, offer, reason });
        }
        self.wake(id, wakers);
    }

    /// Takes back the slot that the request waits for another one to decide about, if that one has
    /// not decided in the meantime. Returns true if the request is to be polled again.
    pub(super) fn reclaim(&mut self, id: u64, wakers: &mut Wakers) -> bool {
        let awaited = self.line.get_mut(&id).and_then(|waiter| waiter.awaited.take());
        let Some(Awaited { slots, holder, offer, reason }) = awaited else { return false };
        // If the holder took or declined the slot, or has left, it does not hold this offer.
        let Some(waiter) = self.line.get(&holder).filter(|waiter| waiter.holds(offer)) else {
            return false;
        };
        let was_polled = !waiter.is_woken();
        match reason {
            // The holder was polled, took another slot and ceded that one: it has yet to decide.
            AwaitReason::Ceded { polls_left } if polls_left > 0 && self.is_ceding(holder) => {
                if let Some(waiter) = self.line.get_mut(&id) {
                    let reason = AwaitReason::Ceded { polls_left: polls_left - 1 };
                    waiter.awaited = Some(Awaited { slots, holder, offer, reason });
                }
                return true;
            }
            // The next older request is asked then.
            AwaitReason::Ceded { .. } => {
                if let Some(offer) = self.lose(holder, &slots) {
                    let vain_cedes = offer.vain_cedes + 1;
                    self.offer(id, Offer { vain_cedes, ..offer }, wakers);
                }
            }
            AwaitReason::Wanted { .. } if was_polled => {}
            AwaitReason::Wanted { polls_left: 0 } => {
                if let Some(offer) = self.lose(holder, &slots) {
                    self.hand_over(offer, wakers);
                }
            }
            AwaitReason::Wanted { polls_left } => {
                if let Some(waiter) = self.line.get_mut(&id) {
                    let reason = AwaitReason::Wanted { polls_left: polls_left - 1 };
                    waiter.awaited = Some(Awaited { slots, holder, offer, reason });
                }
            }
        }
        false
    }

    /// Takes an offer from a request that does not decide. It counts as having declined until it is
    /// polled.
    fn lose(&mut self, holder: u64, slots: &Arc<Slots>) -> Option<Offer> {
        let offer = self.withdraw(holder, slots)?;
        self.declined(slots).add(holder);
        if let Some(waiter) = self.line.get_mut(&holder) {
            waiter.lost.push(slots.id());
        }
        Some(offer)
    }

    /// Lets a request that is polled be asked again about the endpoints that it did not decide
    /// about.
    pub(super) fn restore_lost(&mut self, id: u64) {
        let lost = self.line.get_mut(&id).map(|waiter| std::mem::take(&mut waiter.lost));
        for slots in lost.into_iter().flatten() {
            if let Some(declined) = self.declined.get_mut(&slots) {
                declined.remove(id);
            }
        }
    }

    /// Returns true if the request has ceded a slot and waits for the decision.
    pub(super) fn is_ceding(&self, id: u64) -> bool {
        let awaited = self.line.get(&id).and_then(|waiter| waiter.awaited.as_ref());
        awaited.is_some_and(|awaited| matches!(awaited.reason, AwaitReason::Ceded { .. }))
    }
}

impl WaitQueue {
    /// Returns true if a request is queued, so that a released slot is handed over.
    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        self.len() > 0
    }

    /// Returns the number of queued requests.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    /// Hands over a slot that has been released and still counts as used.
    #[cold]
    pub(super) fn hand_over(&self, slots: &Arc<Slots>) {
        let offer = Offer { slots: Arc::clone(slots), id: 0, vain_cedes: 0 };
        self.with(|state, wakers| state.released(offer, wakers));
    }

    /// Wakes the watchers for room: a slot has become free while no request was queued.
    #[inline]
    pub(super) fn freed(&self) {
        if self.watching.load(Ordering::SeqCst) > 0 {
            self.wake_watchers();
        }
    }

    #[cold]
    fn wake_watchers(&self) {
        self.with(|state, wakers| {
            wakers.woken.extend(std::mem::take(&mut state.room_watchers).into_values());
        });
    }

    /// Wakes all that wait, because the endpoints have changed. Requests may want now what they
    /// declined before.
    pub(crate) fn changed(&self) {
        self.with(|state, wakers| {
            state.version += 1;
            state.declined.clear();
            state.wake_all(wakers);
        });
    }

    /// Wakes all requests and watchers that wait for room, after the caller has made room that is
    /// not counted in slots. The caller's write is sequentially consistent, as that of a released
    /// slot.
    pub(crate) fn look_again(&self) {
        between_seq_cst();
        if self.is_queued() || self.watching.load(Ordering::SeqCst) > 0 {
            self.with(|state, wakers| state.wake_all_for_room(wakers));
        }
    }

    /// Returns an id for a watch or for the slots of an endpoint.
    pub(super) fn new_id(&self) -> u64 {
        lock(&self.state).next_id()
    }

    /// Runs `act` under the lock, publishes the counts, and wakes the wakers after the lock is
    /// released.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, &mut Wakers) -> R) -> R {
        let mut wakers = Wakers::default();
        let result = {
            let mut state = lock(&self.state);
            let result = act(&mut state, &mut wakers);
            // Still under the lock, so that the counts never go back to older ones.
            self.queued.store(state.line.len(), Ordering::SeqCst);
            self.watching.store(state.room_watchers.len(), Ordering::SeqCst);
            result
        };
        wakers.woken.into_iter().for_each(Waker::wake);
        result
    }
}

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::endpoint::{Look, Ticket, Watch};

    #[derive(Default)]
    struct Counter(std::sync::atomic::AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn waker() -> (Arc<Counter>, Waker) {
        let counter = Arc::new(Counter::default());
        (Arc::clone(&counter), counter.into())
    }

    fn wakes(counter: &Counter) -> usize {
        counter.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// A queue, and `endpoints` endpoints with one slot each, which is taken.
    fn full(endpoints: usize) -> (Arc<WaitQueue>, Vec<Arc<Slots>>) {
        let queue = Arc::<WaitQueue>::default();
        let slots: Vec<_> =
            (0..endpoints).map(|_| Arc::new(Slots::new(1, Arc::clone(&queue)))).collect();
        assert!(slots.iter().all(|slots| slots.try_acquire()));
        (queue, slots)
    }

    /// Joins, and finds nothing.
    fn join(queue: &Arc<WaitQueue>, waker: &Waker) -> Ticket {
        let ticket = Ticket::join(queue);
        let look = ticket.look(waker).expect("the first look");
        assert!(look.offers.is_empty());
        ticket.decline(look);
        ticket
    }

    #[test]
    fn a_slot_is_kept_for_the_first_in_line_and_passed_on_when_it_leaves() {
        let (queue, slots) = full(1);
        let ((a, waker_a), (b, waker_b)) = (waker(), waker());
        let (first, second) = (join(&queue, &waker_a), join(&queue, &waker_b));
        slots[0].release();
        assert_eq!((wakes(&a), wakes(&b)), (1, 0));
        assert!(!slots[0].has_room(), "kept");
        assert!(second.look(&waker_b).is_none(), "not its turn");
        drop(first);
        assert_eq!(wakes(&b), 1);
        let look = second.look(&waker_b).unwrap();
        assert_eq!(second.take(&look.offers[0]), Take::Taken);
        drop(second);
        assert!(!queue.is_queued() && !slots[0].has_room());
        slots[0].release();
        assert!(slots[0].has_room());
    }

    #[test]
    fn a_slot_that_all_decline_is_free_and_offered_again_to_one_that_wants_it() {
        let (queue, slots) = full(1);
        let ((a, waker_a), (b, waker_b), (w, waker_w)) = (waker(), waker(), waker());
        let (first, second) = (join(&queue, &waker_a), join(&queue, &waker_b));
        let watch = Watch::for_room(Arc::clone(&queue));
        watch.register(&waker_w);
        let other = Watch::for_change(Arc::clone(&queue));
        let (c, waker_c) = waker();
        other.register(&waker_c);
        slots[0].release();
        first.decline(first.look(&waker_a).unwrap());
        assert_eq!((wakes(&a), wakes(&b), wakes(&w)), (1, 1, 0));
        second.decline(second.look(&waker_b).unwrap());
        assert!(slots[0].has_room());
        assert_eq!((wakes(&w), wakes(&c)), (1, 0));

        assert!(slots[0].try_acquire());
        let before = wakes(&a) + wakes(&b);
        slots[0].release();
        assert!(slots[0].has_room());
        assert!(wakes(&a) + wakes(&b) <= before + 1, "one looks again, in its turn");

        // One that picks the endpoint again is asked again.
        let _reminded = (first.look(&waker_a), second.look(&waker_b));
        assert!(slots[0].try_acquire());
        let wanted = Some(Arc::clone(&slots[0]));
        second.decline(Look { wanted, ..Look::default() });
        slots[0].release();
        assert!(!slots[0].has_room(), "offered");
        assert_eq!(second.look(&waker_b).unwrap().offers.len(), 1);
        second.decline(Look { offers: slots.clone(), ..Look::default() });
        assert!(slots[0].has_room());

        // After a change all are.
        queue.changed();
        assert_eq!(wakes(&c), 1);
        assert!(slots[0].try_acquire());
        slots[0].release();
        assert_eq!(first.look(&waker_a).unwrap().offers.len(), 1);
    }

    #[test]
    fn an_older_request_decides_first_but_is_not_waited_for_twice() {
        let (queue, slots) = full(2);
        let ((a, waker_a), (b, waker_b)) = (waker(), waker());
        let (first, second) = (join(&queue, &waker_a), join(&queue, &waker_b));
        slots[0].release();
        slots[1].release();
        assert_eq!((wakes(&a), wakes(&b)), (1, 1));
        let look = second.look(&waker_b).unwrap();
        assert_eq!(second.take(&slots[1]), Take::Ceded);
        second.decline(look);
        assert_eq!(wakes(&b), 2, "it looks again");
        let look = second.look(&waker_b).unwrap();
        assert_eq!(second.take(&look.offers[0]), Take::Taken);
        drop(second);
        let look = first.look(&waker_a).unwrap();
        assert_eq!(look.offers.len(), 1, "what it was offered");
        drop(first);
        assert!(slots[0].has_room() && !slots[1].has_room());
    }

    #[test]
    fn a_watcher_is_woken_by_a_free_slot_and_forgotten_when_dropped() {
        let (queue, slots) = full(1);
        let (a, waker_a) = waker();
        let watch = Watch::for_room(Arc::clone(&queue));
        watch.register(&waker_a);
        slots[0].release();
        assert_eq!(wakes(&a), 1);
        watch.register(&waker_a);
        drop(watch);
        assert!(slots[0].try_acquire());
        slots[0].release();
        assert_eq!(wakes(&a), 1);
    }
}
