use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
    task::Waker,
};

use super::Slots;
use crate::sync::{AtomicUsize, Mutex, Ordering, between_seq_cst, lock};

/// How many older requests a request looks at before it takes a slot.
const LOOK_AHEAD: usize = 16;
/// Of this many released slots, one is offered to a request that has declined its endpoint before.
const REMIND_EVERY: u64 = 16;

/// Where requests wait for a slot, in order of arrival, and where `poll_ready` watches for one.
///
/// Touched only when something is full or missing: a request that finds room reads two atomics of it
/// when it ends.
///
/// **Hand-over.** A released slot stays in use and is *offered* to one request in line, so no newcomer
/// can take it. Only the request itself can tell whether it can be served there: it is woken, picks
/// again in its own poll, and takes the slot or declines it. A declined slot goes to the next. A slot
/// that no request in line wants becomes free.
///
/// **Order.** A slot is offered to the first request that has not declined its endpoint since the last
/// change of the endpoints and holds no other offer. So each request is asked once about each endpoint
/// after each change, and again only if it has picked that endpoint since. If only requests that hold other offers are left, it is offered to the first of
/// those. A request that would take a slot before an older one was asked lets the older one decide
/// first. It waits for that only as long as it takes to be polled again.
///
/// **A request that is woken but never polled** keeps the slots that it was offered until another request
/// picks the same endpoint and is polled three times. `poll_ready` does not count such a slot as room.
///
/// **No wake-up is lost.** A request joins first and looks afterwards; a slot is given back first and
/// the counts are read afterwards (all sequentially consistent). A ticket without a waker has been
/// woken and will look at every endpoint. A request that leaves the line passes its offers on.
///
/// Each step takes time in proportion to the logarithm of the line. It also visits requests that declined
/// an endpoint while an older one was busy with another offer; there are few, unless the older
/// one is never polled.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    state: Mutex<State>,
    queued: AtomicUsize,
    watching: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    line: BTreeMap<u64, Waiter>,
    /// Tickets in line that hold no offer.
    unasked: BTreeSet<u64>,
    /// Tickets in line that hold offers.
    busy: BTreeSet<u64>,
    /// By endpoint, which tickets have declined it.
    declined: HashMap<SlotsId, Declined>,
    /// Counts the changes of the endpoints: a pick from before one declines nothing after it.
    version: u64,
    /// How many slots were released, how many of them became free, and the last request that was
    /// reminded.
    released: u64,
    freed: u64,
    reminded: u64,
    /// Woken by a free slot and by a change of the endpoints.
    room_watchers: BTreeMap<u64, Waker>,
    /// Woken by a change of the endpoints.
    change_watchers: BTreeMap<u64, Waker>,
}

/// The number of an endpoint's slots, from the same counter as tickets.
type SlotsId = u64;

/// The requests that have declined an endpoint since the last change, and have not wanted it since.
#[derive(Debug, Default)]
struct Declined {
    /// All tickets in line up to this one, except those in `again`.
    up_to: u64,
    /// Later ones.
    above: BTreeSet<u64>,
    /// Tickets up to `up_to` that want it after all.
    again: BTreeSet<u64>,
}

impl Declined {
    fn contains(&self, id: u64) -> bool {
        self.above.contains(&id) || (id <= self.up_to && !self.again.contains(&id))
    }

    fn add(&mut self, id: u64) {
        self.again.remove(&id);
        if id > self.up_to {
            self.above.insert(id);
        }
    }

    fn remove(&mut self, id: u64) {
        if !self.above.remove(&id) && id <= self.up_to {
            self.again.insert(id);
        }
    }
}

#[derive(Debug, Default)]
struct Waiter {
    /// `None`: woken, and not yet back.
    waker: Option<Waker>,
    offers: Vec<Offer>,
    /// A slot that another request, the holder, decides about before this one is polled again.
    left: Option<Left>,
}

/// A slot that a request waits for another one to decide about.
#[derive(Debug)]
struct Left {
    slots: Arc<Slots>,
    holder: u64,
    /// This request would have taken the slot, and gets it back. Otherwise it is for the next in line.
    ceded: bool,
    /// How many more polls of this request the holder has.
    patience: u8,
}

/// How many polls of another request a holder has that has not asked for the slot, after the first. One is
/// enough with any executor that polls each woken task before it polls one twice.
const PATIENCE: u8 = 1;

/// A slot in use that is kept for a request in line.
#[derive(Debug)]
struct Offer {
    slots: Arc<Slots>,
    /// An older request was left to decide about it and did not come.
    overdue: bool,
}

impl Waiter {
    fn position_of(&self, slots: &Arc<Slots>) -> Option<usize> {
        self.offers.iter().position(|offer| Arc::ptr_eq(&offer.slots, slots))
    }
}

/// Wakers to be woken, and to be dropped, when the lock is released: both may run foreign code.
#[derive(Default)]
struct Wakers {
    woken: Vec<Waker>,
    replaced: Vec<Waker>,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The requests that have declined the endpoint, without those that have left the line.
    fn declined(&mut self, slots: &Arc<Slots>) -> &mut Declined {
        let declined = self.declined.entry(slots.id()).or_default();
        // Those that have left are removed when they are as many as those that have not.
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

    /// A slot has been released.
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

    /// The first request that may want a slot of this endpoint. One that holds an offer of another is
    /// only asked if there is no other: it must not be overtaken by a younger one, or a new one, that
    /// finds the slot free.
    fn next_to_ask(&mut self, slots: &Arc<Slots>) -> Option<u64> {
        self.declined(slots);
        let declined = self.declined.get(&slots.id())?;
        let asked = (Bound::Excluded(declined.up_to), Bound::Unbounded);
        let may_want = |id: &&u64| !declined.above.contains(id);
        // Those in `again` are older than all others that have not declined it.
        let again = declined.again.iter().find(|id| self.unasked.contains(id));
        let next = again.or_else(|| self.unasked.range(asked).find(may_want));
        let next = next.or_else(|| {
            let has_other = |id: &&u64| {
                self.line.get(id).is_some_and(|waiter| waiter.position_of(slots).is_none())
            };
            self.busy.range(asked).find(|id| may_want(id) && has_other(id))
        });
        next.copied()
    }

    /// Offers a slot in use to the first request that may want it; frees it if there is none.
    fn hand_over(&mut self, offer: Offer, wakers: &mut Wakers) {
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

    /// A request that may have declined what it would take after all: another one each time, so that
    /// a picker that doesn't choose what it accepts starves no request. From younger to older: there are
    /// always younger ones to come.
    fn next_to_remind(&mut self) -> Option<u64> {
        let next = self.unasked.range(..self.reminded).next_back();
        let next = next.or_else(|| self.unasked.last()).copied();
        self.reminded = next.unwrap_or(0);
        next
    }

    fn wake_all(&mut self, wakers: &mut Wakers) {
        wakers.woken.extend(self.line.values_mut().filter_map(|waiter| waiter.waker.take()));
        wakers.woken.extend(std::mem::take(&mut self.room_watchers).into_values());
        wakers.woken.extend(std::mem::take(&mut self.change_watchers).into_values());
    }

    fn wake(&mut self, id: u64, wakers: &mut Wakers) {
        if let Some(waiter) = self.line.get_mut(&id) {
            wakers.woken.extend(waiter.waker.take());
        }
    }

    /// Keeps a slot in use for a request in line.
    fn offer(&mut self, id: u64, offer: Offer, wakers: &mut Wakers) {
        if let Some(waiter) = self.line.get_mut(&id) {
            waiter.offers.push(offer);
            self.unasked.remove(&id);
            self.busy.insert(id);
            self.wake(id, wakers);
        }
    }

    /// Takes an offer back from a request in line.
    fn withdraw(&mut self, id: u64, slots: &Arc<Slots>) -> Option<Offer> {
        let waiter = self.line.get_mut(&id)?;
        let position = waiter.position_of(slots)?;
        let offer = waiter.offers.swap_remove(position);
        if waiter.offers.is_empty() {
            self.unasked.insert(id);
            self.busy.remove(&id);
        }
        Some(offer)
    }

    /// The request declines an endpoint: the slot goes to the next.
    fn decline(&mut self, id: u64, offer: Offer, version: u64, wakers: &mut Wakers) {
        if version == self.version {
            self.declined(&offer.slots).add(id);
        }
        self.hand_over(Offer { overdue: false, ..offer }, wakers);
    }

    /// The request would take a slot. If an older one has yet to be asked, the slot goes there first.
    fn take(&mut self, id: u64, slots: &Arc<Slots>, wakers: &mut Wakers) -> Take {
        let Some(offer) = self.withdraw(id, slots) else {
            return Take::Withdrawn;
        };
        let older = if offer.overdue { None } else { self.first_to_ask(slots, id) };
        let Some(older) = older else {
            return Take::Taken;
        };
        // The older one is woken first.
        self.offer(older, offer, wakers);
        if let Some(waiter) = self.line.get_mut(&id) {
            waiter.left =
                Some(Left { slots: Arc::clone(slots), holder: older, ceded: true, patience: 0 });
        }
        self.wake(id, wakers);
        Take::Ceded
    }

    /// The first request before `id` that has not been asked about this endpoint.
    fn first_to_ask(&mut self, slots: &Arc<Slots>, id: u64) -> Option<u64> {
        self.declined(slots);
        let declined = self.declined.get(&slots.id())?;
        if declined.up_to + 1 >= id {
            return None;
        }
        let older = self.line.range((Bound::Excluded(declined.up_to), Bound::Excluded(id)));
        let mut unasked = older.take(LOOK_AHEAD).filter(|(id, waiter)| {
            !declined.above.contains(id) && waiter.position_of(slots).is_none()
        });
        unasked.next().map(|(&id, _)| id)
    }

    /// The request would go to this endpoint, which is full. If a slot there is kept for a request that
    /// was woken and has not come, that one loses it unless it comes before this one is polled again.
    fn want(&mut self, id: u64, slots: &Arc<Slots>, wakers: &mut Wakers) {
        if let Some(declined) = self.declined.get_mut(&slots.id()) {
            declined.remove(id);
        }
        let holder = self.busy.iter().take(LOOK_AHEAD).find(|&holder| {
            let waiter = self.line.get(holder).filter(|_| *holder != id);
            waiter.is_some_and(|one| one.waker.is_none() && one.position_of(slots).is_some())
        });
        let (Some(&holder), Some(waiter)) = (holder, self.line.get_mut(&id)) else { return };
        let same = |left: &Left| left.holder == holder && Arc::ptr_eq(&left.slots, slots);
        if !waiter.left.as_ref().is_some_and(same) {
            let slots = Arc::clone(slots);
            waiter.left = Some(Left { slots, holder, ceded: false, patience: PATIENCE });
        }
        self.wake(id, wakers);
    }

    /// What the request left to another one, if that one has not decided meanwhile.
    fn reclaim(&mut self, id: u64, wakers: &mut Wakers) {
        let left = self.line.get_mut(&id).and_then(|waiter| waiter.left.take());
        let Some(Left { slots, holder, ceded, patience }) = left else { return };
        let has_come = self.line.get(&holder).is_none_or(|waiter| waiter.waker.is_some());
        if let (false, Some(patience)) = (has_come, patience.checked_sub(1)) {
            if let Some(waiter) = self.line.get_mut(&id) {
                waiter.left = Some(Left { slots, holder, ceded, patience });
            }
            return;
        }
        if has_come && !ceded {
            return;
        }
        let Some(offer) = self.withdraw(holder, &slots) else { return };
        if ceded {
            self.offer(id, Offer { overdue: true, ..offer }, wakers);
        } else {
            // As if it had declined: when it comes and wants the endpoint, it will be asked again.
            self.declined(&slots).add(holder);
            self.hand_over(offer, wakers);
        }
    }
}

impl WaitQueue {
    /// True if a request is in line, so that a released slot is handed over.
    #[inline]
    pub(super) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::SeqCst) > 0
    }

    /// Returns the number of requests in the queue.
    pub(crate) fn len(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    /// Hands a slot over that has been released and is still counted as used.
    #[cold]
    pub(super) fn hand_over(&self, slots: &Arc<Slots>) {
        let offer = Offer { slots: Arc::clone(slots), overdue: false };
        self.with(|state, wakers| state.released(offer, wakers));
    }

    /// A slot has become free while no request was in line.
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

    /// The endpoints have changed: all that wait look again, and may want now what they declined before.
    pub(crate) fn changed(&self) {
        self.with(|state, wakers| {
            state.version += 1;
            state.declined.clear();
            state.wake_all(wakers);
        });
    }

    /// There is room that is not counted in slots: all that wait look again.
    pub(crate) fn look_again(&self) {
        self.with(|state, wakers| state.wake_all(wakers));
    }

    /// A number for the slots of an endpoint.
    pub(super) fn new_slots_id(&self) -> SlotsId {
        lock(&self.state).next_id()
    }

    fn with<R>(&self, act: impl FnOnce(&mut State, &mut Wakers) -> R) -> R {
        let mut wakers = Wakers::default();
        let result = {
            let mut state = lock(&self.state);
            let result = act(&mut state, &mut wakers);
            self.queued.store(state.line.len(), Ordering::SeqCst);
            self.watching.store(state.room_watchers.len(), Ordering::SeqCst);
            result
        };
        wakers.woken.into_iter().for_each(Waker::wake);
        result
    }
}

/// A place in line. Dropping it gives the place up and passes its offers on.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Arc<WaitQueue>,
    id: u64,
}

/// What a request in line goes by when it picks again. It must [end](Ticket::decline) each look with
/// which it does not leave the line.
#[derive(Debug, Default)]
pub(crate) struct Look {
    version: u64,
    freed: u64,
    /// Slots that are kept for the request.
    pub(crate) offers: Vec<Arc<Slots>>,
    /// Those of the full endpoint that was picked last.
    pub(crate) wanted: Option<Arc<Slots>>,
}

/// What came of taking an offered slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Taken,
    /// An older request decides first; this one will be woken again.
    Ceded,
    /// The offer has been withdrawn.
    Withdrawn,
}

impl Ticket {
    /// Joins at the end of the line. The holder must look once after joining.
    pub(crate) fn join(queue: &Arc<WaitQueue>) -> Self {
        let id = queue.with(|state, _| {
            let id = state.next_id();
            state.line.insert(id, Waiter::default());
            state.unasked.insert(id);
            id
        });
        between_seq_cst();
        Self { queue: Arc::clone(queue), id }
    }

    /// Asks to be woken again. `None` if there is nothing to look at since the last look.
    pub(crate) fn look(&self, waker: &Waker) -> Option<Look> {
        self.queue.with(|state, wakers| {
            if state.line.get(&self.id)?.waker.is_none() {
                state.reclaim(self.id, wakers);
            }
            let waiter = state.line.get_mut(&self.id)?;
            let was_woken = waiter.waker.is_none();
            if !waiter.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                wakers.replaced.extend(waiter.waker.replace(waker.clone()));
            }
            let offers = waiter.offers.iter().map(|offer| Arc::clone(&offer.slots)).collect();
            let (version, freed) = (state.version, state.freed);
            was_woken.then_some(Look { version, freed, offers, wanted: None })
        })
    }

    /// Takes a slot that was offered. The request stays in line until the ticket is dropped.
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
            // A slot that became free meanwhile was not offered here, because this request had
            // another offer; and the pick may have been earlier.
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
            state.reclaim(self.id, wakers);
            state.unasked.remove(&self.id);
            state.busy.remove(&self.id);
            let Some(waiter) = state.line.remove(&self.id) else { return };
            wakers.replaced.extend(waiter.waker);
            for offer in waiter.offers {
                state.hand_over(Offer { overdue: false, ..offer }, wakers);
            }
            if state.line.is_empty() {
                state.declined.clear();
            }
        });
    }
}

/// What a [`Watch`] is woken by.
#[derive(Clone, Copy, Debug)]
enum Until {
    Room,
    Change,
}

/// Watches for room or for a change of the endpoints without standing in line.
#[derive(Debug)]
pub(crate) struct Watch {
    queue: Arc<WaitQueue>,
    id: u64,
    until: Until,
}

impl Watch {
    /// For a free slot, and for a change of the endpoints.
    pub(crate) fn for_room(queue: Arc<WaitQueue>) -> Self {
        Self::new(queue, Until::Room)
    }

    /// For a change of the endpoints only.
    pub(crate) fn for_change(queue: Arc<WaitQueue>) -> Self {
        Self::new(queue, Until::Change)
    }

    fn new(queue: Arc<WaitQueue>, until: Until) -> Self {
        let id = lock(&queue.state).next_id();
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

#[cfg(all(test, not(tower_lb_loom)))]
mod tests {
    use std::task::Wake;

    use super::*;

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
        second.decline(Look { version: 0, offers: slots.clone(), ..Look::default() });
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
