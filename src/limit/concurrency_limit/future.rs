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

use super::{Permit, PermitScope, RejectReason, limiter::QueueEntry, service::Shared};
use crate::{
    BoxError,
    future::polled_after_completion,
    outcome::{Classify, Outcome},
};

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
    pub struct ConcurrencyLimitFuture<S, C, I, P, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req, S::Future>,
        shared: Arc<Shared<C, I, P>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        // Boxed, so that the future of a request that need not wait stays small.
        Queued { queued: Option<Box<Queued<S, Req>>> },
        // `started` is measured only for an adaptive limit.
        Calling { #[pin] response: F, permit: Option<Permit>, started: Option<Instant> },
        Rejected { rejected: Option<BoxError> },
    }
}

const NAME: &str = "ConcurrencyLimitFuture";

/// A request that waits in the queue.
struct Queued<S, Req> {
    service: S,
    request: Req,
    entry: QueueEntry,
    since: Instant,
    wait_timer: Option<Pin<Box<Sleep>>>,
}

impl<S: Service<Req>, C, I, P, Req> ConcurrencyLimitFuture<S, C, I, P, Req> {
    #[inline]
    pub(super) fn calling(
        response: S::Future,
        permit: Permit,
        shared: Arc<Shared<C, I, P>>,
    ) -> Self {
        Self { state: State::calling(response, permit, &shared), shared }
    }

    #[cold]
    pub(super) fn queued(
        service: S,
        request: Req,
        entry: QueueEntry,
        until: Option<Instant>,
        shared: Arc<Shared<C, I, P>>,
    ) -> Self {
        let wait_timer = until.map(|until| Box::pin(sleep_until(until)));
        let queued = Queued { service, request, entry, since: Instant::now(), wait_timer };
        Self { state: State::Queued { queued: Some(Box::new(queued)) }, shared }
    }

    #[cold]
    pub(super) fn rejected(reason: RejectReason, shared: Arc<Shared<C, I, P>>) -> Self {
        let rejected = shared.rejections.reject(reason).into();
        Self { state: State::Rejected { rejected: Some(rejected) }, shared }
    }
}

impl<S, Req, F> State<S, Req, F> {
    #[inline]
    fn calling<C, I, P>(response: F, permit: Permit, shared: &Shared<C, I, P>) -> Self {
        let started = shared.adaptive.is_some().then(Instant::now);
        Self::Calling { response, permit: Some(permit), started }
    }
}

impl<S, Req> Queued<S, Req> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, RejectReason>> {
        if let Poll::Ready(result) = self.entry.poll(cx) {
            return Poll::Ready(result);
        }
        match &mut self.wait_timer {
            Some(wait_timer) => ready!(wait_timer.as_mut().poll(cx)),
            // The queue entry has registered the waker.
            None => return Poll::Pending,
        }
        Poll::Ready(Err(RejectReason::WaitedTooLong { waited: self.since.elapsed() }))
    }
}

impl<S, C, I, P, Req> Future for ConcurrencyLimitFuture<S, C, I, P, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    P: PermitScope<S::Response>,
{
    type Output = Result<P::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { response, permit, started } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let permit = permit.take().unwrap_or_else(|| polled_after_completion(NAME));
                    // Before the permit is released: this request counts as in flight for the
                    // sample.
                    this.shared.record(&result, &permit, *started);
                    let keep = |response| this.shared.permit_scope.keep_permit(response, permit);
                    return Poll::Ready(result.map(keep));
                }
                StateProjection::Queued { queued } => {
                    let result = queued.as_mut().map(|queued| queued.poll(cx));
                    let result = ready!(result.unwrap_or_else(|| polled_after_completion(NAME)));
                    // A rejected request leaves the queue now, not when its future is dropped.
                    let queued = queued.take();
                    let queued = queued.unwrap_or_else(|| polled_after_completion(NAME));
                    let permit = result.map_err(|reason| this.shared.rejections.reject(reason))?;
                    let Queued { mut service, request, .. } = *queued;
                    let response = service.call(request);
                    this.state.set(State::calling(response, permit, this.shared));
                }
                StateProjection::Rejected { rejected } => {
                    let rejected = rejected.take().unwrap_or_else(|| polled_after_completion(NAME));
                    return Poll::Ready(Err(rejected));
                }
            }
        }
    }
}

impl<C, I, P> Shared<C, I, P> {
    /// Adapts the limit to a result, if it is adaptive.
    #[inline]
    fn record<Rsp>(&self, result: &Result<Rsp, BoxError>, permit: &Permit, started: Option<Instant>)
    where
        C: Classify<Rsp>,
    {
        let (Some(adaptive), Some(started)) = (&self.adaptive, started) else { return };
        let outcome = match result {
            Ok(response) => self.classify.classify(Ok(response)),
            Err(error) => self.classify.classify(Err(&**error)),
        };
        let is_overload = matches!(outcome, Outcome::Overload { .. } | Outcome::Timeout);
        if !is_overload && outcome != Outcome::Success {
            // Other failures say nothing about the endpoints' capacity.
            return;
        }
        let limiter = permit.limiter();
        let set_limit = |limit| limiter.set_limit(limit);
        adaptive.record(started.elapsed(), limiter.in_flight(), is_overload, set_limit);
    }
}

impl<S: Service<Req>, C, I, P, Req> fmt::Debug for ConcurrencyLimitFuture<S, C, I, P, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Queued { .. } => "waiting in the queue",
            State::Calling { .. } => "waiting for the response",
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct(NAME).field("state", &state).finish_non_exhaustive()
    }
}
