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

use super::{
    RetryDecision, RetryPolicy, RetrySafety, RetryableRequest, begins_in_time, layer::Rules,
    policy::endpoint_of, poll_ready_until,
};
use crate::{
    BoxError,
    endpoint::EndpointId,
    future::{LazySleep, polled_after_completion},
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
        state: State<S::Future, S::Response, Again<S, J, Req>>,
        // From when a response is waited for.
        #[pin]
        patience: LazySleep,
        overall: Option<Duration>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, Rsp, A> {
        // `again` is `None` if the request can't be sent again.
        Calling { #[pin] response: F, again: Option<A> },
        Waiting { #[pin] delay: Sleep, held: Option<Held<Rsp, A>> },
        // For the service to be ready for the next attempt, until when if not indefinitely.
        Readying { held: Option<Held<Rsp, A>>, until: Option<Instant>, #[pin] timer: LazySleep },
    }
}

/// What a request has between two attempts; it is taken with the end of the wait.
struct Held<Rsp, A> {
    /// The answer if no more attempt can be made.
    last: Result<Rsp, BoxError>,
    again: A,
}

impl<F, Rsp, S, J, Req> State<F, Rsp, Again<S, J, Req>> {
    fn readying(held: Held<Rsp, Again<S, J, Req>>) -> Self {
        let Held { last, again } = &held;
        let longest = again.rules.backoff.longest();
        // An answer in hand may hold the very room that is waited for.
        let patience = last.is_ok().then(|| Instant::now().checked_add(longest)).flatten();
        let deadline = again.attempts.as_ref().and_then(Attempts::deadline);
        let until = patience.into_iter().chain(deadline).min();
        Self::Readying { held: Some(held), until, timer: LazySleep::default() }
    }
}

const NAME: &str = "RetryFuture";

/// What it takes to send a request again, and how often that was done.
pub(super) struct Again<S, J, Req> {
    copy: Req,
    retry_safety: RetrySafety,
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

/// When the next attempt is made.
enum Next {
    AtOnce,
    After(Duration),
}

/// Whether something that is waited for so long begins before the deadline.
pub(crate) fn in_time(delay: Duration, deadline: Instant) -> bool {
    Instant::now().checked_add(delay).is_some_and(|begins| begins < deadline)
}

impl<S, J, Req: RetryableRequest> Again<S, J, Req> {
    #[inline]
    pub(super) fn new(
        copy: Req,
        retry_safety: RetrySafety,
        service: S,
        rules: Arc<Rules<J>>,
    ) -> Self {
        let (attempts, delay) = (None, Duration::ZERO);
        Self {
            copy,
            retry_safety,
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

    /// `None` if the result is the caller's.
    #[inline]
    fn decide<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        until: Option<Instant>,
    ) -> Option<Next>
    where
        J: RetryPolicy<Rsp>,
    {
        let verdict = match result {
            Ok(response) => self.rules.policy.decide(Ok(response)),
            Err(error) => self.rules.policy.decide(Err(&**error)),
        };
        match verdict {
            RetryDecision::Final => None,
            failed => self.failed(result, failed, until),
        }
    }

    #[cold]
    fn failed<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        verdict: RetryDecision,
        until: Option<Instant>,
    ) -> Option<Next>
    where
        J: RetryPolicy<Rsp>,
    {
        let unsent = verdict == RetryDecision::Unsent;
        let (outcome, undone) = match verdict {
            RetryDecision::Final => return None,
            RetryDecision::Failed(outcome) => (outcome, false),
            RetryDecision::Refused(outcome) => (outcome, true),
            RetryDecision::Unsent => (Outcome::TransportFailure, true),
        };
        if self.retry_safety != RetrySafety::Idempotent && !undone {
            return None;
        }
        let endpoint = match result {
            Ok(response) => self.rules.policy.endpoint(response),
            Err(error) => endpoint_of(&**error),
        };
        let asked = outcome.retry_after();
        let new = self.note(outcome, endpoint);
        self.free = unsent && new && self.unsent < FREE;
        if self.free {
            self.unsent += 1;
            return Some(Next::AtOnce);
        }
        if self.sent >= self.rules.attempts || !self.rules.budget.affords_one() {
            return None;
        }
        self.delay = self.rules.delay(self.sent, self.delay);
        let pushback = asked.unwrap_or_default().min(self.rules.max_pushback);
        let delay = self.delay.max(pushback);
        let deadline = self.attempts.as_ref().and_then(Attempts::deadline);
        let deadline = deadline.into_iter().chain(until).min();
        if deadline.is_some_and(|deadline| !in_time(delay, deadline)) {
            return None;
        }
        Some(Next::After(delay))
    }

    /// Takes note of the failure and its endpoint. True if the attempt was the first one there.
    fn note(&mut self, outcome: Outcome, endpoint: Option<&EndpointId>) -> bool {
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
        attempts.went_to(endpoint.stats());
        attempts.tried().len() > self.known
    }

    /// The request for the next attempt, its cost paid; `None` if none can be made any more.
    fn pay(&mut self) -> Option<Req> {
        if !begins_in_time(self.attempts.as_ref()) {
            return None;
        }
        let request = self.copy.try_clone()?;
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
        Self { state: State::Calling { response, again }, patience: LazySleep::default(), overall }
    }
}

impl<S, J, Req> Future for RetryFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(result) = self.as_mut().poll_attempts(cx) {
            return Poll::Ready(result);
        }
        let this = self.project();
        // What the attempts wait for has registered the waker.
        let Some(overall) = *this.overall else { return Poll::Pending };
        ready!(this.patience.poll(cx, || sleep(overall)));
        let held = match this.state.project() {
            StateProjection::Calling { .. } => None,
            StateProjection::Waiting { held, .. } | StateProjection::Readying { held, .. } => {
                held.take()
            }
        };
        let elapsed = || Err(Elapsed::new(Bound::Overall, overall).into());
        Poll::Ready(held.map_or_else(elapsed, |held| held.last))
    }
}

impl<S, J, Req> RetryFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    #[inline]
    fn poll_attempts(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, BoxError>> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { response, again } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let until = this.patience.deadline();
                    let mut next = None;
                    let again = again.take_if(|again| {
                        next = again.decide(&result, until);
                        next.is_some()
                    });
                    let (Some(again), Some(next)) = (again, next) else {
                        return Poll::Ready(result);
                    };
                    let held = Held { last: result, again };
                    this.state.set(match next {
                        Next::AtOnce => State::readying(held),
                        Next::After(delay) => {
                            State::Waiting { delay: sleep(delay), held: Some(held) }
                        }
                    });
                }
                StateProjection::Waiting { delay, held } => {
                    ready!(delay.poll(cx));
                    let held = held.take().unwrap_or_else(|| polled_after_completion(NAME));
                    this.state.set(State::readying(held));
                }
                StateProjection::Readying { held, until, timer } => {
                    let service = held.as_mut().map(|held| &mut held.again.service);
                    let service = service.unwrap_or_else(|| polled_after_completion(NAME));
                    let is_ready = ready!(poll_ready_until(service, *until, timer, cx));
                    let held = held.take().unwrap_or_else(|| polled_after_completion(NAME));
                    let Held { last, mut again } = held;
                    let request = is_ready.then(|| again.pay()).flatten();
                    let Some(request) = request else { return Poll::Ready(last) };
                    // What the last attempt holds is let go before the next begins.
                    drop(last);
                    let response = again.send(request);
                    this.state.set(State::Calling { response, again: Some(again) });
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
