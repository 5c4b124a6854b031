use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    patience::Patience,
    shared::{Outlook, Shared},
};
use crate::{
    BoxError, Error,
    endpoint::{Endpoint, Instance, Ticket, Tried, Watch},
    load::Now,
    outcome::{Attempt, Attempts, Track},
    strategy::{Pick, PickContext, Rng},
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
        if let Some(member) = attempt.member() {
            self.tried.add(&member.vitals);
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
        if let Some(member) = attempt.member() {
            self.tried.add(&member.vitals);
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
        self.follow_changes(cx);
        loop {
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
                Picked::Refused | Picked::Nothing => {}
            }
            if !self.pending.is_empty() {
                let reason = self.shared.snapshot.load().unavailable();
                return self.wait_because(reason, cx);
            }
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(error));
            }
            if self.ticket.is_none() {
                // Joins the line, and looks once more: room may have come up meanwhile.
                self.ticket = Some(Ticket::join(Arc::clone(&self.shared.queue), cx.waker()));
                continue;
            }
            return match self.shared.outlook(&mut self.rng) {
                Outlook::Never(reason) => Poll::Ready(Err(reason)),
                Outlook::Wait(reason) if self.impatient => Poll::Ready(Err(reason)),
                Outlook::Wait(reason) => self.wait_because(reason, cx),
                // It was another's turn, or others were faster.
                Outlook::Ready => Poll::Pending,
            };
        }
    }

    /// After a change of the endpoints: forgets those that are gone or not eligible any more, and
    /// lets the others be tried again.
    fn follow_changes(&mut self, cx: &Context<'_>) {
        let watch = self.watch.get_or_insert_with(|| Watch::new(Arc::clone(&self.shared.queue)));
        watch.register(cx.waker());
        let snapshot = self.shared.snapshot.load();
        if std::mem::replace(&mut self.version, snapshot.version) == snapshot.version {
            return;
        }
        self.tried = Tried::none();
        for (service, attempt) in std::mem::take(&mut self.pending) {
            let vitals = attempt.member().map(|member| &member.vitals);
            let same = |of: &Arc<_>| vitals.is_some_and(|vitals| Arc::ptr_eq(of, vitals));
            if snapshot.candidates.iter().any(|candidate| same(candidate.vitals())) {
                self.tried.extend(vitals);
                self.pending.push((service, attempt));
            } else {
                attempt.forgo();
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
                    let (mut service, attempt) = self.pending.swap_remove(index);
                    self.pending.drain(..).for_each(|(_, attempt)| attempt.forgo());
                    return Some((service.call(self.request.take()?), attempt));
                }
                Poll::Ready(Err(error)) => {
                    let (_, attempt) = self.pending.swap_remove(index);
                    self.failed(error, attempt, tracker);
                }
            }
        }
        None
    }

    fn pick(&mut self, cx: &Context<'_>) -> Picked<S>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let Some(request) = &self.request else {
            return Picked::Nothing;
        };
        let limited = self.shared.is_limited();
        let our_turn = match &self.ticket {
            Some(ticket) => ticket.rearm(cx.waker()),
            None => !(limited && self.shared.queue.is_queued()),
        };
        if !our_turn || self.tried.len() >= EFFORT {
            return Picked::Nothing;
        }
        let snapshot = self.shared.snapshot.load();
        let mut refused = false;
        let earlier = self.attempts.as_ref().map(|attempts| {
            let mut tried = attempts.tried();
            tried.extend(self.tried.iter());
            (tried, attempts.number())
        });
        let (avoided, number) = earlier.as_ref().map_or((&self.tried, 1), |(t, n)| (t, *n));
        for _ in 0..RACES {
            let mut now = Now::lazy();
            let started = snapshot.timed.then(|| now.get());
            let mut context = PickContext::new(&mut self.rng, now, avoided).for_attempt(number);
            let picked = snapshot.picker.pick(request, &mut context);
            let remarks = context.remarks();
            match picked {
                // All that would do have been tried, or the picker doesn't care.
                Some(candidate) if self.tried.contains(candidate.vitals()) => refused = false,
                Some(candidate) if self.elsewhere && avoided.contains(candidate.vitals()) => {
                    refused = true;
                }
                Some(candidate) => {
                    refused = snapshot.position(candidate).is_none();
                    let engaged = snapshot.engage(candidate, started, remarks);
                    if let Some((service, attempt)) = engaged {
                        if let Some(attempts) = &self.attempts {
                            attempts.went_to(candidate.vitals());
                        }
                        return Picked::Engaged(service, attempt);
                    }
                }
                None if snapshot.candidates.is_empty() => return Picked::Nothing,
                None if !snapshot.candidates.any_has_room(&mut self.rng) => {
                    return Picked::Nothing;
                }
                None => refused = true,
            }
        }
        if refused { Picked::Refused } else { Picked::Nothing }
    }

    fn wait_because<R>(&mut self, reason: Error, cx: &mut Context<'_>) -> Poll<Result<R, Error>> {
        ready!(self.patience.poll(cx, self.shared.patience(&reason)));
        Poll::Ready(Err(reason))
    }
}

/// Records that an endpoint's service failed, and makes the error of it.
pub(super) fn endpoint_failed<Rsp, E, T>(error: E, attempt: Attempt, tracker: &T) -> Error
where
    E: Into<BoxError>,
    T: Track<Rsp>,
{
    let over = || Instance::new("", &Endpoint::new(()));
    let endpoint = attempt.instance().unwrap_or_else(over);
    let source: BoxError = error.into();
    tracker.error(&*source, attempt);
    Error::Endpoint { endpoint, source }
}
