use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    future::polled_after_completion,
    shared::{Lack, Readiness, Shared},
    wait_timer::Patience,
};
use crate::{
    BoxError, Error,
    endpoint::{EndpointState, EndpointStats, Look, Take, Ticket, Tried, Watch},
    load::Now,
    outcome::{Attempt, Attempts, Track},
    strategy::{Candidate, Pick, PickContext, Rng},
};

/// How many endpoints a request asks whether they are ready.
const EFFORT: usize = 5;
/// How often a pick is repeated that came to nothing because others were faster.
const RACES: usize = 8;

/// A request on its way to an endpoint that is ready for it: what `call` turns to when the first
/// pick did not do.
///
/// It waits in line while no endpoint has room, asks several endpoints while they are not ready, and
/// starts over when the endpoints change.
pub(super) struct Acquire<S, P, Req> {
    shared: Arc<Shared<S, P>>,
    rng: Rng,
    /// Empty once it is sent.
    request: Option<Req>,
    /// What became of it before, and meanwhile.
    attempts: Option<Attempts>,
    /// It is of no use where it has been before.
    elsewhere: bool,
    /// Endpoints that were picked and are not ready yet; each holds its slot.
    pending: Vec<(S, Attempt)>,
    /// Those, and the ones that failed to get ready.
    tried: Tried,
    failed: Option<Error>,
    /// Of the snapshot that `tried` is about.
    version: u64,
    /// In line for room. Without it, `watch` tells of changes of the endpoints.
    ticket: Option<Ticket>,
    watch: Option<Watch>,
    patience: Patience,
    /// Fails instead of waiting for an endpoint to turn up or to get room.
    pub(super) impatient: bool,
}

/// What came of one more pick.
enum Picked<S> {
    Engaged(S, Attempt),
    /// Nothing, for now.
    Nothing,
    /// Nothing before an older request has decided; this one has been woken again.
    Ceded,
    Refused,
}

impl<S, P, Req> Acquire<S, P, Req> {
    /// For a request whose first pick was from the snapshot of this version.
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
            patience: Patience::default(),
            impatient: false,
        })
    }

    /// An endpoint that was picked and is not ready yet.
    pub(super) fn wait_for(&mut self, service: S, attempt: Attempt) {
        if let Some(endpoint_state) = attempt.endpoint_state() {
            self.tried.add(&endpoint_state.stats);
        }
        self.pending.push((service, attempt));
    }

    /// An endpoint that was picked and failed to get ready.
    pub(super) fn failed<T>(&mut self, error: S::Error, attempt: Attempt, tracker: &T)
    where
        S: Service<Req>,
        S::Error: Into<BoxError>,
        T: Track<S::Response>,
    {
        if let Some(endpoint_state) = attempt.endpoint_state() {
            self.tried.add(&endpoint_state.stats);
        }
        self.failed = Some(endpoint_failed(error, attempt, tracker));
    }

    /// The response future of the first endpoint that is ready, and the attempt it belongs to.
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
        if let Some(watch) = &self.watch {
            watch.register(cx.waker());
        }
        loop {
            self.follow_changes();
            if let Some(sent) = self.send(cx, tracker) {
                return Poll::Ready(Ok(sent));
            }
            match self.pick(cx) {
                Picked::Engaged(service, attempt) => {
                    self.ticket = None;
                    self.wait_for(service, attempt);
                    continue;
                }
                Picked::Refused if self.pending.is_empty() && self.failed.is_none() => {
                    return Poll::Ready(Err(Error::Refused));
                }
                Picked::Ceded => return Poll::Pending,
                Picked::Refused | Picked::Nothing => {}
            }
            if self.pending.is_empty() {
                if let Some(error) = self.failed.take() {
                    return Poll::Ready(Err(error));
                }
            }
            if self.register(cx) {
                // Looks once more: there may be room, or another endpoint, meanwhile.
                continue;
            }
            if !self.pending.is_empty() {
                return self.wait_for_more(Lack::Ready, cx);
            }
            let lack = match self.shared.readiness(&mut self.rng) {
                Readiness::Never(reason) => return Poll::Ready(Err(reason)),
                Readiness::Wait(lack) => lack,
                // There is room, but not where this request may go.
                Readiness::Ready => Lack::Room,
            };
            if self.impatient {
                return Poll::Ready(Err(self.shared.error(lack)));
            }
            return self.wait_for_more(lack, cx);
        }
    }

    /// Joins the line if there may be more endpoints to go to when they have room; otherwise watches
    /// for changes. True if that is new.
    fn register(&mut self, cx: &Context<'_>) -> bool {
        let queue = &self.shared.queue;
        if self.pending.is_empty() || self.has_more_to_try() {
            self.watch = None;
            let joins = self.ticket.is_none();
            self.ticket.get_or_insert_with(|| Ticket::join(queue));
            return joins;
        }
        self.ticket = None;
        let is_new = self.watch.is_none();
        if is_new {
            let watch = Watch::for_change(Arc::clone(queue));
            watch.register(cx.waker());
            self.watch = Some(watch);
        }
        is_new
    }

    /// True if there may be endpoints that were passed over because they are full.
    fn has_more_to_try(&self) -> bool {
        let snapshot = self.shared.snapshot.load();
        let limited = self.shared.is_limited() || snapshot.rationed;
        limited && self.tried.len() < EFFORT.min(snapshot.candidates.len())
    }

    /// After a change of the endpoints: forgets those that are gone, not eligible any more, replaced or
    /// labelled otherwise, and lets the others be tried again.
    fn follow_changes(&mut self) {
        let snapshot = self.shared.snapshot.load();
        if std::mem::replace(&mut self.version, snapshot.version) == snapshot.version {
            return;
        }
        self.tried = Tried::none();
        for (service, attempt) in std::mem::take(&mut self.pending) {
            let stays = attempt.endpoint_state().filter(|endpoint_state| {
                let now = snapshot.candidates.find(endpoint_state);
                now.is_some_and(|now| is_the_same(&now.endpoint_state, endpoint_state))
            });
            if let Some(endpoint_state) = stays {
                self.tried.add(&endpoint_state.stats);
                self.pending.push((service, attempt));
            } else {
                attempt.abandon();
            }
        }
    }

    /// Sends the request to a picked endpoint that is ready, if there is one.
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

    /// Picks once more, if there is anything new to pick from.
    fn pick(&mut self, cx: &Context<'_>) -> Picked<S>
    where
        S: Clone,
        P: Pick<Req>,
    {
        if self.tried.len() >= EFFORT {
            return Picked::Nothing;
        }
        let mut look = Look::default();
        if let Some(ticket) = &self.ticket {
            match ticket.look(cx.waker()) {
                Some(news) => look = news,
                None => return Picked::Nothing,
            }
        }
        let picked = self.pick_by(&mut look);
        // With a slot ceded it looks again at once, and keeps its other offers until then.
        if let (Some(ticket), Picked::Nothing | Picked::Refused) = (&self.ticket, &picked) {
            ticket.decline(look);
        }
        picked
    }

    fn pick_by(&mut self, look: &mut Look) -> Picked<S>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let Some(request) = &self.request else { polled_after_completion() };
        let snapshot = self.shared.snapshot.load();
        let mut refused = false;
        let earlier = self.attempts.as_ref().map(|attempts| {
            let mut tried = attempts.tried();
            tried.extend(self.tried.iter());
            (tried, attempts.number())
        });
        let (mut avoided, number) = earlier.as_ref().map_or((&self.tried, 1), |(t, n)| (t, *n));
        let mut in_vain: Option<&Arc<EndpointStats>> = None;
        for _ in 0..RACES {
            let mut now = Now::lazy();
            let started = snapshot.timed.then(|| now.get());
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
                // Where earlier attempts have been is better than where this one has been.
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
                        if let Some(attempts) = &self.attempts {
                            attempts.went_to(candidate.stats());
                        }
                        let attempt =
                            Attempt::entered(&candidate.endpoint_state, started, pick_metadata);
                        return Picked::Engaged(service.clone(), attempt);
                    }
                    Entry::Ceded => return Picked::Ceded,
                    Entry::Full => look.wanted.clone_from(&candidate.endpoint_state.slots),
                    Entry::Spent => {}
                }
            }
            // Picked again, it was not for a slot that another has just taken: it is all that would do.
            if in_vain.is_some_and(|earlier| Arc::ptr_eq(earlier, candidate.stats())) {
                break;
            }
            in_vain = Some(candidate.stats());
        }
        if refused { Picked::Refused } else { Picked::Nothing }
    }

    fn wait_for_more<R>(&mut self, lack: Lack, cx: &mut Context<'_>) -> Poll<Result<R, Error>> {
        ready!(self.patience.poll(cx, self.shared.patience(lack)));
        Poll::Ready(Err(self.shared.error(lack)))
    }
}

/// What came of asking for room at a candidate.
enum Entry {
    Entered,
    /// No slot is free.
    Full,
    /// Nothing is left of its allowance, so a slot is of no use.
    Spent,
    /// An older request decides about the slot first.
    Ceded,
}

/// True if it is the same service, in the same place: a rule of the strategy that sent the request there
/// still does. Its health and weight may be others.
fn is_the_same(now: &EndpointState, before: &EndpointState) -> bool {
    let (now_at, before_at) = (&now.attributes, &before.attributes);
    Arc::ptr_eq(&now.stats, &before.stats)
        && now.origin == before.origin
        && now_at.tier() == before_at.tier()
        && now_at.locality() == before_at.locality()
        && now_at.metadata() == before_at.metadata()
}

/// Takes room at a candidate: the slot that is kept for the request, or a free one.
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

/// Records that an endpoint's service failed, and makes the error of it.
pub(super) fn endpoint_failed<Rsp, E, T>(error: E, attempt: Attempt, tracker: &T) -> Error
where
    E: Into<BoxError>,
    T: Track<Rsp>,
{
    let Some(endpoint) = attempt.endpoint_id() else { polled_after_completion() };
    let source: BoxError = error.into();
    tracker.error(&*source, attempt);
    Error::Endpoint { endpoint, source }
}
