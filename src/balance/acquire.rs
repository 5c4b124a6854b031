//! The slow path of a request: from a first pick that found no ready endpoint to one that is ready.
//!
//! A request is in one of these situations, and [`Acquire::poll`] goes round until none of them
//! lets it proceed:
//!
//! 1. **It holds attempts** (`pending`): endpoints that were picked, at which it holds a slot, and
//!    whose `poll_ready` is pending. The first that gets ready is called; the other attempts are
//!    abandoned and their slots released.
//! 2. **It may pick again**, until it has tried [`MAX_ENDPOINTS_POLLED`] endpoints. A queued
//!    request picks only when it was woken. It may then take the slots that were offered to it, and
//!    must end the look with [`Ticket::decline`] unless it took one, so that the others get the
//!    slots.
//! 3. **It waits.** With a [`Ticket`] it is in the queue and is woken when a slot is offered to it.
//!    With a [`Watch`] it is woken only by a change of the endpoints: a picked endpoint wakes the
//!    task itself, and there is no other endpoint to try.
//!
//! A request always registers first (queue or watch) and looks once more afterwards, so that no
//! change between the look and the registration is missed. When the endpoints change, it forgets
//! what it tried, and keeps the attempts at endpoints that stay as they were.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tower_service::Service;

use super::{
    future::polled_after_completion,
    shared::{Lack, Readiness, Shared},
    snapshot::UNTRIED,
    wait_timer::WaitTimer,
};
use crate::{
    BoxError, Error,
    endpoint::{EndpointState, EndpointStats, Look, Take, Ticket, Tried, Watch},
    outcome::{Attempt, Attempts, Track},
    strategy::{Candidate, Pick, PickContext, Rng},
};

/// The most endpoints whose `poll_ready` a request polls.
const MAX_ENDPOINTS_POLLED: usize = 5;
/// The most picks in one look that come to nothing, because other requests took the slots first.
const MAX_PICK_RACES: usize = 8;

/// A request that has not found a ready endpoint yet.
pub(super) struct Acquire<S, P, Req> {
    shared: Arc<Shared<S, P>>,
    rng: Rng,
    /// `None` once it is sent.
    request: Option<Req>,
    /// The request's earlier and concurrent attempts, if it carries them.
    attempts: Option<Attempts>,
    /// The request must not go to an endpoint of those attempts.
    elsewhere: bool,
    /// The endpoints that were picked and are not ready yet; each attempt holds its slot.
    pending: Vec<(S, Attempt)>,
    /// The endpoints in `pending`, and those that failed to get ready.
    tried: Tried,
    /// The last error of an endpoint that failed to get ready.
    failed: Option<Error>,
    /// The version of the snapshot that `tried` refers to.
    version: u64,
    /// The place in the queue for a slot.
    ticket: Option<Ticket>,
    /// Wakes the request when the endpoints change, while it is not in the queue.
    watch: Option<Watch>,
    timer: WaitTimer,
    /// Fails instead of waiting for an endpoint to appear or to have room.
    pub(super) no_wait: bool,
}

/// The result of registering for a wake-up.
enum Registered {
    /// The request has just joined the queue, or begun to watch.
    Now,
    /// It was in the queue, or watching, before.
    Before,
    /// The queue is full, and the request holds no attempt.
    NotQueued,
}

/// The result of one more pick.
enum Picked<S> {
    /// An endpoint, at which the request now has a slot.
    Started(S, Attempt),
    /// No endpoint for now.
    Nothing,
    /// No endpoint before an older request has decided; the queue has woken this one again.
    Ceded,
    /// The strategy refuses the request although endpoints have room.
    Refused,
}

impl<S, P, Req> Acquire<S, P, Req> {
    /// Creates the slow path of a request whose first pick was from the snapshot of this version.
    pub(super) fn new(
        shared: &Arc<Shared<S, P>>,
        request: Req,
        attempts: Option<Attempts>,
        version: u64,
    ) -> Box<Self> {
        Box::new(Self {
            shared: Arc::clone(shared),
            rng: shared.next_rng(),
            request: Some(request),
            elsewhere: attempts.as_ref().is_some_and(Attempts::is_elsewhere),
            attempts,
            pending: Vec::new(),
            tried: Tried::none(),
            failed: None,
            version,
            ticket: None,
            watch: None,
            timer: WaitTimer::default(),
            no_wait: false,
        })
    }

    /// Adds an endpoint that was picked and is not ready yet.
    pub(super) fn wait_for(&mut self, service: S, attempt: Attempt) {
        self.tried.add(&attempt.endpoint_state().stats);
        self.pending.push((service, attempt));
    }

    /// Adds an endpoint that was picked and failed to get ready.
    pub(super) fn failed<T>(&mut self, error: S::Error, attempt: Attempt, tracker: &T)
    where
        S: Service<Req>,
        S::Error: Into<BoxError>,
        T: Track<S::Response>,
    {
        self.tried.add(&attempt.endpoint_state().stats);
        self.failed = Some(endpoint_failed(error, attempt, tracker));
    }

    /// Returns the response future of the first endpoint that is ready, and its attempt.
    // Not inlined into the poll of the response, which would need a large frame on the stack.
    #[inline(never)]
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        tracker: &T,
    ) -> Poll<Result<(S::Future, Attempt), Error>>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        P: Pick<Req>,
        T: Track<S::Response>,
    {
        let sent = ready!(self.poll_sent(cx, tracker));
        self.shared.record_wait(&self.timer);
        Poll::Ready(sent)
    }

    fn poll_sent<T>(
        &mut self,
        cx: &mut Context<'_>,
        tracker: &T,
    ) -> Poll<Result<(S::Future, Attempt), Error>>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError>,
        P: Pick<Req>,
        T: Track<S::Response>,
    {
        // Registers before anything is looked at, as in `register`.
        if let Some(watch) = &self.watch {
            watch.register(cx.waker());
        }
        loop {
            self.follow_changes();
            if let Some(sent) = self.send(cx, tracker) {
                return Poll::Ready(Ok(sent));
            }
            match self.pick(cx) {
                Picked::Started(service, attempt) => {
                    // Leaves the queue, which passes the other offers on. `register` joins it
                    // again, at the end, if this endpoint is not ready.
                    self.ticket = None;
                    self.wait_for(service, attempt);
                    continue;
                }
                Picked::Refused if self.pending.is_empty() && self.failed.is_none() => {
                    return Poll::Ready(Err(self.shared.refused()));
                }
                // The queue has woken the task again, so there is nothing to register for.
                Picked::Ceded => return Poll::Pending,
                Picked::Refused | Picked::Nothing => {}
            }
            if self.pending.is_empty() {
                if let Some(error) = self.failed.take() {
                    return Poll::Ready(Err(error));
                }
            }
            match self.register(cx) {
                // Looks once more: there may be room or another endpoint since the last look.
                Registered::Now => continue,
                Registered::Before => {}
                Registered::NotQueued => {
                    return Poll::Ready(Err(match self.shared.readiness(&mut self.rng) {
                        Readiness::Never(reason) => reason,
                        Readiness::Wait(lack) => self.shared.reject(lack),
                        // The room is for the requests in the queue.
                        Readiness::Ready => self.shared.reject(Lack::Room),
                    }));
                }
            }
            if !self.pending.is_empty() {
                return self.wait(Lack::Ready, cx);
            }
            let lack = match self.shared.readiness(&mut self.rng) {
                Readiness::Never(reason) => return Poll::Ready(Err(reason)),
                Readiness::Wait(lack) => lack,
                // There is room, but not at an endpoint that the strategy picks for this request.
                Readiness::Ready => Lack::Room,
            };
            if self.no_wait {
                return Poll::Ready(Err(self.shared.error(lack)));
            }
            return self.wait(lack, cx);
        }
    }

    /// Joins the queue if the request may go to more endpoints once they have room, and otherwise
    /// watches for changes.
    fn register(&mut self, cx: &Context<'_>) -> Registered {
        let queue = &self.shared.queue;
        if self.pending.is_empty() || self.has_more_to_try() {
            if self.ticket.is_some() {
                return Registered::Before;
            }
            self.ticket = match self.shared.config.max_waiting {
                None => Some(Ticket::join(queue)),
                Some(most) => Ticket::try_join(queue, most),
            };
            if self.ticket.is_some() {
                self.watch = None;
                return Registered::Now;
            }
            if self.pending.is_empty() {
                return Registered::NotQueued;
            }
        }
        self.ticket = None;
        let is_new = self.watch.is_none();
        if is_new {
            let watch = Watch::for_change(Arc::clone(queue));
            watch.register(cx.waker());
            self.watch = Some(watch);
        }
        if is_new { Registered::Now } else { Registered::Before }
    }

    /// Returns true if there may be endpoints that were not tried because they are full.
    fn has_more_to_try(&self) -> bool {
        let snapshot = self.shared.snapshot.load();
        snapshot.limited && self.tried.len() < MAX_ENDPOINTS_POLLED.min(snapshot.candidates.len())
    }

    /// After a change of the endpoints, abandons attempts at endpoints that were removed, replaced,
    /// relabelled or are no longer eligible, and lets all other endpoints be tried again.
    fn follow_changes(&mut self) {
        let snapshot = self.shared.snapshot.load();
        if std::mem::replace(&mut self.version, snapshot.version) == snapshot.version {
            return;
        }
        self.tried = Tried::none();
        for (service, attempt) in std::mem::take(&mut self.pending) {
            let before = attempt.endpoint_state();
            let now = snapshot.candidates.find(before);
            if now.is_some_and(|now| is_same(&now.endpoint_state, before)) {
                self.tried.add(&before.stats);
                self.pending.push((service, attempt));
            } else {
                attempt.abandon();
            }
        }
    }

    /// Sends the request to the first picked endpoint that is ready, if one is.
    fn send<T>(&mut self, cx: &mut Context<'_>, tracker: &T) -> Option<(S::Future, Attempt)>
    where
        S: Service<Req>,
        S::Error: Into<BoxError>,
        T: Track<S::Response>,
    {
        let mut index = 0;
        while let Some((service, _)) = self.pending.get_mut(index) {
            match service.poll_ready(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(Ok(())) => {
                    let Some(request) = self.request.take() else { polled_after_completion() };
                    let (mut service, attempt) = self.pending.swap_remove(index);
                    self.pending.drain(..).for_each(|(_, attempt)| attempt.abandon());
                    return Some((service.call(request), attempt));
                }
                Poll::Ready(Err(error)) => {
                    let (_, attempt) = self.pending.swap_remove(index);
                    self.failed(error, attempt, tracker);
                }
            }
        }
        None
    }

    /// Picks once more, if the request may try another endpoint and, in the queue, if it was woken.
    fn pick(&mut self, cx: &Context<'_>) -> Picked<S>
    where
        S: Clone,
        P: Pick<Req>,
    {
        if self.tried.len() >= MAX_ENDPOINTS_POLLED {
            return Picked::Nothing;
        }
        let mut look = Look::default();
        if let Some(ticket) = &self.ticket {
            match ticket.look(cx.waker()) {
                Some(offered) => look = offered,
                None => return Picked::Nothing,
            }
        }
        let picked = self.pick_in(&mut look);
        // A request that started an attempt leaves the queue, which ends the look. One that ceded a
        // slot looks again at once and keeps its other offers until then.
        if let (Some(ticket), Picked::Nothing | Picked::Refused) = (&self.ticket, &picked) {
            ticket.decline(look);
        }
        picked
    }

    /// Picks with the offers of one look. Repeats the pick if another request took the slot first.
    fn pick_in(&mut self, look: &mut Look) -> Picked<S>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let Some(request) = &self.request else { polled_after_completion() };
        let snapshot = self.shared.snapshot.load();
        let mut refused = false;
        // The picker avoids the endpoints of all attempts of the request, and of this one.
        let all_attempts = self.attempts.as_ref().map(|attempts| {
            let mut tried = attempts.tried();
            tried.extend(self.tried.iter());
            (tried, attempts.number())
        });
        let (mut avoided, number) =
            all_attempts.as_ref().map_or((&self.tried, 1), |(tried, number)| (tried, *number));
        let mut missed: Option<&Arc<EndpointStats>> = None;
        for _ in 0..MAX_PICK_RACES {
            let now = snapshot.now();
            let started = now.known();
            let context = PickContext::new(&mut self.rng, now, avoided).for_attempt(number);
            let mut context = context.with_offers(&look.offers);
            let picked = snapshot.picker.pick(request, &mut context);
            let pick_metadata = context.pick_metadata();
            let Some(candidate) = picked.filter(|picked| !context.is_refused_at(picked)) else {
                if context.waits() || !snapshot.candidates.any_has_room_for(&mut context) {
                    return Picked::Nothing;
                }
                refused = true;
                continue;
            };
            let tried = self.tried.contains(candidate.stats());
            if tried && !self.elsewhere && avoided.len() > self.tried.len() {
                // Nothing else is left. An endpoint of an earlier attempt is better than one that
                // is pending in this attempt.
                avoided = &self.tried;
                continue;
            }
            refused = !tried && self.elsewhere && avoided.contains(candidate.stats());
            if !tried && !refused {
                let Some(service) = snapshot.service(candidate) else {
                    refused = true;
                    continue;
                };
                match enter(candidate, self.ticket.as_ref(), look) {
                    Entry::Entered => {
                        let earlier = all_attempts.as_ref().map_or(&UNTRIED, |(tried, _)| tried);
                        let is_last = snapshot.is_last_choice(candidate, earlier);
                        if let Some(attempts) = &self.attempts {
                            attempts.picked(candidate.stats(), is_last);
                        }
                        let state = &candidate.endpoint_state;
                        let attempt = Attempt::entered(state, started, pick_metadata, is_last);
                        return Picked::Started(service.clone(), attempt);
                    }
                    Entry::Ceded => return Picked::Ceded,
                    // Tells the queue that this endpoint is wanted, so that it will be offered.
                    Entry::Full => look.wanted.clone_from(&candidate.endpoint_state.slots),
                    Entry::Spent => {}
                }
            }
            // Picked twice in vain: the picker does not choose it for a slot that was just taken,
            // but because it wants no other.
            if missed.is_some_and(|missed| Arc::ptr_eq(missed, candidate.stats())) {
                break;
            }
            missed = Some(candidate.stats());
        }
        if refused { Picked::Refused } else { Picked::Nothing }
    }

    fn wait<R>(&mut self, lack: Lack, cx: &mut Context<'_>) -> Poll<Result<R, Error>> {
        let log = |waited: Duration| self.shared.log_wait("request", lack, waited);
        ready!(self.timer.poll(cx, self.shared.wait_limit(lack), log));
        Poll::Ready(Err(self.shared.error(lack)))
    }
}

/// The result of asking for room at a candidate.
enum Entry {
    Entered,
    /// No slot is free.
    Full,
    /// Its allowance is used up, so a slot would be of no use.
    Spent,
    /// An older request decides about the slot first.
    Ceded,
}

/// Returns true if both are the same service under the same labels, so that the rules by which the
/// strategy sent the request there still hold. Health and weight may differ.
fn is_same(now: &EndpointState, before: &EndpointState) -> bool {
    let (now_at, before_at) = (&now.attributes, &before.attributes);
    Arc::ptr_eq(&now.stats, &before.stats)
        && now.origin == before.origin
        && now_at.tier() == before_at.tier()
        && now_at.locality() == before_at.locality()
        && now_at.metadata() == before_at.metadata()
}

/// Takes room at a candidate: the slot that is offered to the request, or a free one.
fn enter(candidate: &Candidate, ticket: Option<&Ticket>, look: &mut Look) -> Entry {
    let endpoint_state = &candidate.endpoint_state;
    if endpoint_state.is_spent() {
        return Entry::Spent;
    }
    let offer = endpoint_state
        .slots
        .as_ref()
        .and_then(|slots| look.offers.iter().position(|offer| Arc::ptr_eq(offer, slots)));
    let entered = match (ticket, offer) {
        (Some(ticket), Some(offer)) => match ticket.take(&look.offers.swap_remove(offer)) {
            Take::Taken => endpoint_state.enter_with_slot(),
            Take::Ceded => return Entry::Ceded,
            Take::Withdrawn => false,
        },
        _ => endpoint_state.enter(),
    };
    match entered {
        true => Entry::Entered,
        false if endpoint_state.is_spent() => Entry::Spent,
        false => Entry::Full,
    }
}

/// Records that an endpoint's service failed, and returns the balancer's error for it.
#[cold]
pub(super) fn endpoint_failed<Rsp, E, T>(error: E, attempt: Attempt, tracker: &T) -> Error
where
    E: Into<BoxError>,
    T: Track<Rsp>,
{
    let endpoint = attempt.endpoint_id();
    let balancer = attempt.endpoint_state().balancer().cloned();
    let source: BoxError = error.into();
    tracker.error(&*source, attempt);
    Error::Endpoint { balancer, endpoint, source }
}
