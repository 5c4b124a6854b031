use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{Judge, Repeat, Safety, Verdict, judge::endpoint_of, layer::Rules};
use crate::{
    BoxError,
    endpoint::Instance,
    outcome::{Attempts, Bound, Elapsed, Outcome},
};

/// How many attempts that were never sent cost nothing.
const FREE: u32 = 5;

pin_project! {
    /// The response of a [`Retry`](super::Retry).
    pub struct RetryFuture<S, J, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future, S::Response>,
        // From when a response is waited for.
        #[pin]
        patience: Option<Sleep>,
        overall: Option<Duration>,
        // `None` if the request can't be sent again.
        again: Option<Again<S, J, Req>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, Rsp> {
        Calling { #[pin] response: F },
        // With the answer if no more attempt can be made.
        Waiting { #[pin] delay: Sleep, last: Option<Result<Rsp, BoxError>> },
        // For the service to be ready for the next attempt.
        Readying { last: Option<Result<Rsp, BoxError>>, #[pin] patience: Option<Sleep> },
    }
}

impl<F, Rsp> State<F, Rsp> {
    fn readying(last: Option<Result<Rsp, BoxError>>) -> Self {
        Self::Readying { last, patience: None }
    }
}

/// What it takes to send a request again, and how often that was done.
pub(super) struct Again<S, J, Req> {
    copy: Req,
    safety: Safety,
    service: S,
    rules: Arc<Rules<J>>,
    /// From the first failure on, if the request did not carry them before.
    attempts: Option<Attempts>,
    sent: u32,
    unsent: u32,
    /// How many endpoints had been tried before the last attempt.
    known: usize,
    delay: Duration,
    /// The next attempt costs nothing.
    free: bool,
}

/// What to do about the end of an attempt.
enum Next {
    Return,
    AtOnce,
    After(Duration),
}

/// Whether something that is waited for so long begins before the deadline.
pub(crate) fn in_time(delay: Duration, deadline: Instant) -> bool {
    Instant::now().checked_add(delay).is_some_and(|begins| begins < deadline)
}

impl<S, J, Req: Repeat> Again<S, J, Req> {
    #[inline]
    pub(super) fn new(copy: Req, safety: Safety, service: S, rules: Arc<Rules<J>>) -> Self {
        let (attempts, delay) = (None, Duration::ZERO);
        Self {
            copy,
            safety,
            service,
            rules,
            attempts,
            sent: 1,
            unsent: 0,
            known: 0,
            delay,
            free: false,
        }
    }

    #[inline]
    fn judge<Rsp>(&mut self, result: &Result<Rsp, BoxError>, until: Option<Instant>) -> Next
    where
        J: Judge<Rsp>,
    {
        let verdict = match result {
            Ok(response) => self.rules.judge.judge(Ok(response)),
            Err(error) => self.rules.judge.judge(Err(&**error)),
        };
        match verdict {
            Verdict::Final => Next::Return,
            failed => self.failed(result, failed, until),
        }
    }

    #[cold]
    fn failed<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        verdict: Verdict,
        until: Option<Instant>,
    ) -> Next
    where
        J: Judge<Rsp>,
    {
        let unsent = verdict == Verdict::Unsent;
        let (outcome, undone) = match verdict {
            Verdict::Final => return Next::Return,
            Verdict::Failed(outcome) => (outcome, false),
            Verdict::Refused(outcome) => (outcome, true),
            Verdict::Unsent => (Outcome::TransportFailure, true),
        };
        if self.safety != Safety::Idempotent && !undone {
            return Next::Return;
        }
        let endpoint = match result {
            Ok(response) => self.rules.judge.endpoint(response),
            Err(error) => endpoint_of(&**error),
        };
        let asked = outcome.retry_after();
        let new = self.note(outcome, endpoint);
        self.free = unsent && new && self.unsent < FREE;
        if self.free {
            self.unsent += 1;
            return Next::AtOnce;
        }
        if self.sent >= self.rules.attempts || !self.rules.budget.affords_one() {
            return Next::Return;
        }
        self.delay = self.rules.delay(self.sent, self.delay);
        let pushback = asked.unwrap_or_default().min(self.rules.max_pushback);
        let delay = self.delay.max(pushback);
        let deadline = self.attempts.as_ref().and_then(Attempts::deadline);
        let deadline = deadline.into_iter().chain(until).min();
        if deadline.is_some_and(|deadline| !in_time(delay, deadline)) {
            return Next::Return;
        }
        Next::After(delay)
    }

    /// Takes note of the failure and its endpoint. True if the attempt was the first one there.
    fn note(&mut self, outcome: Outcome, endpoint: Option<&Instance>) -> bool {
        let attempts = self.attempts.get_or_insert_with(|| {
            let attempts = self.copy.attempts().cloned();
            attempts.unwrap_or_else(|| {
                let attempts = Attempts::new();
                self.copy.carry(attempts.clone());
                attempts
            })
        });
        attempts.failed(outcome);
        let Some(endpoint) = endpoint else { return false };
        attempts.went_to(endpoint.vitals());
        attempts.tried().len() > self.known
    }

    /// The request for the next attempt, its cost paid.
    fn pay(&mut self) -> Option<Req> {
        let request = self.copy.repeat()?;
        (self.free || self.rules.budget.withdraw()).then_some(request)
    }

    fn send(&mut self, request: Req) -> S::Future
    where
        S: Service<Req>,
    {
        self.sent += u32::from(!self.free);
        if let Some(attempts) = &self.attempts {
            self.known = attempts.tried().len();
            attempts.begin_next();
        }
        self.service.call(request)
    }
}

impl<S: Service<Req>, J, Req> RetryFuture<S, J, Req> {
    #[inline]
    pub(super) fn new(
        response: S::Future,
        overall: Option<Duration>,
        again: Option<Again<S, J, Req>>,
    ) -> Self {
        Self { state: State::Calling { response }, patience: None, overall, again }
    }
}

impl<S, J, Req> Future for RetryFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: Judge<S::Response>,
    Req: Repeat,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(result) = self.as_mut().poll_attempts(cx) {
            return Poll::Ready(result);
        }
        let mut this = self.project();
        let Some(overall) = *this.overall else { return Poll::Pending };
        if this.patience.is_none() {
            this.patience.set(Some(sleep(overall)));
        }
        let Some(patience) = this.patience.as_pin_mut() else { return Poll::Pending };
        ready!(patience.poll(cx));
        let last = match this.state.project() {
            StateProjection::Calling { .. } => None,
            StateProjection::Waiting { last, .. } | StateProjection::Readying { last, .. } => {
                last.take()
            }
        };
        Poll::Ready(last.unwrap_or_else(|| Err(Elapsed::new(Bound::Overall, overall).into())))
    }
}

impl<S, J, Req> RetryFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: Judge<S::Response>,
    Req: Repeat,
{
    #[inline]
    fn poll_attempts(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, BoxError>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { response } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let Some(again) = this.again else { return Poll::Ready(result) };
                    let until = this.patience.as_ref().as_pin_ref().map(|timer| timer.deadline());
                    let next = match again.judge(&result, until) {
                        Next::Return => return Poll::Ready(result),
                        Next::AtOnce => State::readying(Some(result)),
                        Next::After(delay) => {
                            State::Waiting { delay: sleep(delay), last: Some(result) }
                        }
                    };
                    this.state.set(next);
                }
                StateProjection::Waiting { delay, last } => {
                    ready!(delay.poll(cx));
                    let last = last.take();
                    this.state.set(State::readying(last));
                }
                StateProjection::Readying { last, mut patience } => {
                    let Some(again) = this.again else { return Poll::Pending };
                    let Poll::Ready(ready) = again.service.poll_ready(cx) else {
                        // An answer in hand may hold the very room that is waited for.
                        if !matches!(last, Some(Ok(_))) {
                            return Poll::Pending;
                        }
                        if patience.is_none() {
                            patience.set(Some(sleep(again.rules.backoff.longest())));
                        }
                        if let Some(patience) = patience.as_pin_mut() {
                            ready!(patience.poll(cx));
                        }
                        return last.take().map_or(Poll::Pending, Poll::Ready);
                    };
                    match ready.ok().and_then(|()| again.pay()) {
                        // What the last attempt holds is let go before the next begins.
                        Some(request) => {
                            *last = None;
                            let response = again.send(request);
                            this.state.set(State::Calling { response });
                        }
                        None => return last.take().map_or(Poll::Pending, Poll::Ready),
                    }
                }
            }
        }
    }
}

impl<S: Service<Req>, J, Req> fmt::Debug for RetryFuture<S, J, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "waiting for the response",
            State::Waiting { .. } => "waiting to try again",
            State::Readying { .. } => "waiting for the service to be ready",
        };
        f.debug_struct("RetryFuture").field("state", &state).finish_non_exhaustive()
    }
}
