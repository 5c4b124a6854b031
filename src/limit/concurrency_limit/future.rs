use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{Permit, PermitScope, Rejected, layer::Rules, limiter::Ticket};
use crate::{
    BoxError,
    future::polled_after_completion,
    outcome::{Classify, Outcome},
};

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
    pub struct ConcurrencyLimitFuture<S, C, I, H, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req, S::Future>,
        rules: Arc<Rules<C, I, H>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        Outside { waiting: Option<Box<Waiting<S, Req>>> },
        Inside { #[pin] response: F, permit: Option<Permit>, started: Option<Instant> },
        Rejected { rejected: Option<Rejected> },
    }
}

const NAME: &str = "ConcurrencyLimitFuture";

/// A request in the queue.
struct Waiting<S, Req> {
    service: S,
    request: Req,
    ticket: Ticket,
    since: Instant,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S: Service<Req>, C, I, H, Req> ConcurrencyLimitFuture<S, C, I, H, Req> {
    #[inline]
    pub(super) fn inside(response: S::Future, permit: Permit, rules: Arc<Rules<C, I, H>>) -> Self {
        Self { state: State::inside(response, permit, &rules), rules }
    }

    #[cold]
    pub(super) fn outside(
        service: S,
        request: Req,
        ticket: Ticket,
        until: Option<Instant>,
        rules: Arc<Rules<C, I, H>>,
    ) -> Self {
        let patience = until.map(|until| Box::pin(sleep_until(until)));
        let waiting = Waiting { service, request, ticket, since: Instant::now(), patience };
        Self { state: State::Outside { waiting: Some(Box::new(waiting)) }, rules }
    }

    #[cold]
    pub(super) fn rejected(rejected: Rejected, rules: Arc<Rules<C, I, H>>) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) }, rules }
    }
}

impl<S, Req, F> State<S, Req, F> {
    #[inline]
    fn inside<C, I, H>(response: F, permit: Permit, rules: &Rules<C, I, H>) -> Self {
        let started = rules.control.is_some().then(Instant::now);
        Self::Inside { response, permit: Some(permit), started }
    }
}

impl<S, Req> Waiting<S, Req> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Rejected>> {
        if let Poll::Ready(entry) = self.ticket.poll(cx) {
            return Poll::Ready(entry);
        }
        match &mut self.patience {
            Some(patience) => ready!(patience.as_mut().poll(cx)),
            // The ticket has registered the waker.
            None => return Poll::Pending,
        }
        Poll::Ready(Err(Rejected::WaitedTooLong { waited: self.since.elapsed() }))
    }
}

impl<S, C, I, H, Req> Future for ConcurrencyLimitFuture<S, C, I, H, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    H: PermitScope<S::Response>,
{
    type Output = Result<H::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Inside { response, permit, started } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let permit = permit.take().unwrap_or_else(|| polled_after_completion(NAME));
                    this.rules.learn(&result, &permit, *started);
                    let keep = |response| this.rules.permit_scope.keep_permit(response, permit);
                    return Poll::Ready(result.map(keep));
                }
                StateProjection::Outside { waiting } => {
                    let entry = waiting.as_mut().map(|queued| queued.poll(cx));
                    let entry = ready!(entry.unwrap_or_else(|| polled_after_completion(NAME)));
                    // Also what is rejected leaves the queue now, and not when it is dropped.
                    let queued = waiting.take();
                    let queued = queued.unwrap_or_else(|| polled_after_completion(NAME));
                    let (Waiting { mut service, request, .. }, permit) = (*queued, entry?);
                    let response = service.call(request);
                    this.state.set(State::inside(response, permit, this.rules));
                }
                StateProjection::Rejected { rejected } => {
                    let rejected = rejected.take();
                    let rejected = rejected.unwrap_or_else(|| polled_after_completion(NAME));
                    return Poll::Ready(Err(rejected.into()));
                }
            }
        }
    }
}

impl<C, I, H> Rules<C, I, H> {
    #[inline]
    fn learn<Rsp>(&self, result: &Result<Rsp, BoxError>, permit: &Permit, started: Option<Instant>)
    where
        C: Classify<Rsp>,
    {
        let (Some(control), Some(started)) = (&self.control, started) else { return };
        let outcome = match result {
            Ok(response) => self.classify.classify(Ok(response)),
            Err(error) => self.classify.classify(Err(&**error)),
        };
        let dropped = matches!(outcome, Outcome::Overload { .. } | Outcome::Timeout);
        let gate = permit.gate();
        if !dropped && outcome != Outcome::Success {
            // Says nothing of how much the endpoints can do.
            return;
        }
        let set = |limit| gate.set_limit(limit);
        control.answered(started.elapsed(), gate.inside(), dropped, set);
    }
}

impl<S: Service<Req>, C, I, H, Req> fmt::Debug for ConcurrencyLimitFuture<S, C, I, H, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Outside { .. } => "waiting for its turn",
            State::Inside { .. } => "waiting for the response",
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct("ConcurrencyLimitFuture").field("state", &state).finish_non_exhaustive()
    }
}
