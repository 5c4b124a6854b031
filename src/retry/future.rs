use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

use super::{
    RetryDecision, RetryPolicy, RetrySafety, RetryableRequest, as_dyn,
    policy::endpoint_of,
    service::Shared,
    status::{FailedRequest, FailureReason, StopReason},
};
use crate::{
    BoxError,
    endpoint::EndpointId,
    future::{LazySleep, polled_after_completion},
    outcome::{Attempts, Bound, Elapsed, Outcome},
};

/// How many retries of unsent attempts are free of charge. It bounds the time that a request spends
/// with endpoints that refuse connections.
const MAX_FREE_RETRIES: u32 = 5;

const NAME: &str = "RetryFuture";

pin_project! {
    /// The response of a [`Retry`](super::Retry).
    pub struct RetryFuture<S, P, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future, S::Response, Retries<S, P, Req>>,
        // Starts at the first poll that is pending.
        #[pin]
        overall_timer: LazySleep,
        overall: Option<Duration>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, Rsp, R> {
        // An attempt is in flight. Without `retries` the request cannot be retried.
        Calling { #[pin] response: F, retries: Option<R> },
        BackingOff { #[pin] delay: Sleep, held: Option<Held<Rsp, R>> },
        // The service is not ready for the next attempt. Without `until` the wait is unlimited.
        WaitingForReady { held: Option<Held<Rsp, R>>, until: Option<Instant>, #[pin] timer: LazySleep },
    }
}

/// What is held between two attempts. It is an `Option` in the states, so that it can be moved out.
struct Held<Rsp, R> {
    /// The result of the last attempt, which goes to the caller if no further attempt can be made.
    last: Result<Rsp, BoxError>,
    retries: R,
}

impl<F, Rsp, S, P, Req> State<F, Rsp, Retries<S, P, Req>> {
    fn waiting_for_ready(held: Held<Rsp, Retries<S, P, Req>>) -> Self {
        let Held { last, retries } = &held;
        let max_delay = retries.shared.settings.backoff.max_delay();
        // A held response may occupy the very permit that the service waits for. Unbounded, the
        // wait could be a deadlock.
        let longest = last.is_ok().then(|| Instant::now().checked_add(max_delay)).flatten();
        let deadline =
            retries.failed.0.as_ref().and_then(|failed| failed.attempts.as_ref()?.deadline());
        let until = longest.into_iter().chain(deadline).min();
        Self::WaitingForReady { held: Some(held), until, timer: LazySleep::default() }
    }
}

/// What is needed to send a request again, and what was sent so far.
pub(super) struct Retries<S, P, Req> {
    /// The request to copy for each retry.
    copy: Req,
    retry_safety: RetrySafety,
    service: S,
    shared: Arc<Shared<P>>,
    failed: AfterFailure,
    /// Attempts that count, including the first.
    sent: u32,
    /// Attempts that were repeated free of charge.
    free_retries: u32,
    /// How many endpoints had been tried before the last attempt.
    tried_before: usize,
    /// The last backoff.
    delay: Duration,
    /// Whether the next attempt is free of charge.
    next_is_free: bool,
}

/// What is known of a request since its first failure.
struct Failed {
    /// `None` if the request is not retried.
    attempts: Option<Attempts>,
    request: FailedRequest,
}

/// `None` until the first failure, so that a request that succeeds pays nothing for it.
#[derive(Default)]
struct AfterFailure(Option<Box<Failed>>);

impl Drop for AfterFailure {
    // Only the look at the option is on the path of a request that succeeds.
    #[inline]
    fn drop(&mut self) {
        if let Some(failed) = self.0.take() {
            drop_failed(failed);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_failed(failed: Box<Failed>) {
    drop(failed);
}

enum NextAttempt {
    Immediately,
    After(Duration),
}

impl<S, P, Req: RetryableRequest> Retries<S, P, Req> {
    #[inline]
    pub(super) fn new(
        copy: Req,
        retry_safety: RetrySafety,
        service: S,
        shared: Arc<Shared<P>>,
    ) -> Self {
        Self {
            copy,
            retry_safety,
            service,
            shared,
            failed: AfterFailure::default(),
            sent: 1,
            free_retries: 0,
            tried_before: 0,
            delay: Duration::ZERO,
            next_is_free: false,
        }
    }

    /// Decides when the next attempt is sent; `None` if `result` goes to the caller. No attempt is
    /// to begin after `until`.
    #[inline]
    fn decide<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        until: Option<Instant>,
    ) -> Option<NextAttempt>
    where
        P: RetryPolicy<Rsp>,
    {
        let decision = self.shared.settings.policy.decide(as_dyn(result));
        // A success at once is the hot path, and all else is kept out of it.
        match decision {
            RetryDecision::Final if self.failed.0.is_none() => None,
            RetryDecision::Final => self.after_retry(result.is_ok()),
            decision => self.after_failure(result, decision, until),
        }
    }

    /// Counts that a request that has failed ends with a final result.
    #[cold]
    fn after_retry(&mut self, is_ok: bool) -> Option<NextAttempt> {
        if let Some(failed) = &mut self.failed.0 {
            failed.request.finish(is_ok);
        }
        None
    }

    #[cold]
    fn after_failure<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        decision: RetryDecision,
        until: Option<Instant>,
    ) -> Option<NextAttempt>
    where
        P: RetryPolicy<Rsp>,
    {
        let reason = FailureReason::of_decision(&decision)?;
        let counters = &self.shared.counters;
        let failed = self.failed.0.get_or_insert_with(|| {
            Box::new(Failed { attempts: None, request: FailedRequest::new(counters, reason) })
        });
        failed.request.reason = reason;
        match self.next_attempt(result, decision, until) {
            Ok(next) => Some(next),
            Err(reason) => {
                self.stop(reason);
                None
            }
        }
    }

    fn next_attempt<Rsp>(
        &mut self,
        result: &Result<Rsp, BoxError>,
        decision: RetryDecision,
        until: Option<Instant>,
    ) -> Result<NextAttempt, StopReason>
    where
        P: RetryPolicy<Rsp>,
    {
        let is_unsent = decision == RetryDecision::Unsent;
        let (outcome, is_unprocessed) = match decision {
            RetryDecision::Failed(outcome) => (outcome, false),
            RetryDecision::Refused(outcome) => (outcome, true),
            RetryDecision::Unsent | RetryDecision::Final => (Outcome::TransportFailure, true),
        };
        if self.retry_safety != RetrySafety::Idempotent && !is_unprocessed {
            return Err(StopReason::NotRepeatable);
        }
        let endpoint = match result {
            Ok(response) => self.shared.settings.policy.endpoint(response),
            Err(error) => endpoint_of(&**error),
        };
        let pushback = outcome.retry_after().unwrap_or_default();
        let (is_first_try, is_exhausted) = self.record_failure(outcome, endpoint);
        // The balancer prefers untried endpoints. If it used a tried one again, there is no other,
        // and an immediate retry would be in vain.
        self.next_is_free = is_unsent && is_first_try && self.free_retries < MAX_FREE_RETRIES;
        if self.next_is_free {
            self.free_retries += 1;
            return Ok(NextAttempt::Immediately);
        }
        if self.sent >= self.shared.settings.attempts {
            return Err(StopReason::Attempts);
        }
        // The budget is only checked here and is charged when the retry is sent. A caller that
        // gives up during the backoff costs nothing.
        if !self.shared.budget.affords_one() {
            return Err(StopReason::Budget);
        }
        let max_pushback = self.shared.settings.max_pushback;
        // The next attempt would go to an endpoint that has asked not to be tried by then.
        if pushback > max_pushback && is_exhausted {
            return Err(StopReason::Pushback);
        }
        self.delay = self.shared.delay(self.sent, self.delay);
        let delay = self.delay.max(pushback.min(max_pushback));
        let deadline = self.attempts().and_then(Attempts::deadline);
        let deadline = deadline.into_iter().chain(until).min();
        // The caller gets the result now rather than after a wait in vain.
        if deadline.is_some_and(|deadline| !begins_before(delay, deadline)) {
            return Err(StopReason::Deadline);
        }
        Ok(NextAttempt::After(delay))
    }

    fn attempts(&self) -> Option<&Attempts> {
        self.failed.0.as_ref()?.attempts.as_ref()
    }

    /// Counts that a request that has failed is not retried any more.
    fn stop(&mut self, reason: StopReason) {
        if let Some(failed) = &mut self.failed.0 {
            failed.request.stop(reason);
        }
    }

    /// Records the failure and its endpoint. Returns whether it was the first attempt at that
    /// endpoint, and whether no other endpoint is left to try.
    fn record_failure(&mut self, outcome: Outcome, endpoint: Option<&EndpointId>) -> (bool, bool) {
        let Some(failed) = &mut self.failed.0 else { return (false, false) };
        let attempts = failed.attempts.get_or_insert_with(|| {
            let attempts = self.copy.attempts().cloned();
            attempts.unwrap_or_else(|| {
                let attempts = Attempts::new();
                self.copy.carry(attempts.clone());
                attempts
            })
        });
        attempts.failed(outcome);
        let Some(endpoint) = endpoint else { return (false, attempts.is_exhausted()) };
        attempts.picked(endpoint.stats(), endpoint.is_last_choice());
        (attempts.tried().len() > self.tried_before, attempts.is_exhausted())
    }

    /// Pays for the next attempt and returns its request.
    fn pay(&mut self, is_ready: bool) -> Result<Req, StopReason> {
        // The wait for the service to be ready may have taken until the deadline.
        if !is_before_deadline(self.attempts()) {
            return Err(StopReason::Deadline);
        }
        if !is_ready {
            return Err(StopReason::NotReady);
        }
        // The copy comes first: budget is not charged for a request that cannot be copied.
        let request = self.copy.try_clone().ok_or(StopReason::NotCopyable)?;
        if !self.next_is_free && !self.shared.budget.withdraw() {
            return Err(StopReason::Budget);
        }
        Ok(request)
    }

    fn send(&mut self, request: Req) -> S::Future
    where
        S: Service<Req>,
    {
        self.sent += u32::from(!self.next_is_free);
        if let Some(failed) = &self.failed.0 {
            failed.request.count_retry();
            if let Some(attempts) = &failed.attempts {
                self.tried_before = attempts.tried().len();
                attempts.begin_next();
            }
        }
        self.service.call(request)
    }
}

impl<S: Service<Req>, P, Req> RetryFuture<S, P, Req> {
    #[inline]
    pub(super) fn new(
        response: S::Future,
        overall: Option<Duration>,
        retries: Option<Retries<S, P, Req>>,
    ) -> Self {
        let state = State::Calling { response, retries };
        Self { state, overall_timer: LazySleep::default(), overall }
    }
}

impl<S, P, Req> Future for RetryFuture<S, P, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The attempts come first: a response that is ready when the time ends is still returned.
        if let Poll::Ready(result) = self.as_mut().poll_attempts(cx) {
            return Poll::Ready(result);
        }
        let this = self.project();
        // What the attempts wait for has registered the waker.
        let Some(overall) = *this.overall else { return Poll::Pending };
        ready!(this.overall_timer.poll(cx, || sleep(overall)));
        // Between two attempts there is a result, which says more than that the time is over.
        let mut held = match this.state.project() {
            StateProjection::Calling { retries, .. } => {
                retries.iter_mut().for_each(|retries| retries.stop(StopReason::Deadline));
                None
            }
            StateProjection::BackingOff { held, .. }
            | StateProjection::WaitingForReady { held, .. } => held.take(),
        };
        held.iter_mut().for_each(|held| held.retries.stop(StopReason::Deadline));
        let elapsed = || Err(Elapsed::new(Bound::Overall, overall).into());
        Poll::Ready(held.map_or_else(elapsed, |held| held.last))
    }
}

impl<S, P, Req> RetryFuture<S, P, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
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
                StateProjection::Calling { response, retries } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let until = this.overall_timer.deadline();
                    let mut next = None;
                    // `retries` stays in place if the result is returned: it is large to move.
                    let retries = retries.take_if(|retries| {
                        next = retries.decide(&result, until);
                        next.is_some()
                    });
                    let (Some(retries), Some(next)) = (retries, next) else {
                        return Poll::Ready(result);
                    };
                    let held = Held { last: result, retries };
                    this.state.set(match next {
                        NextAttempt::Immediately => State::waiting_for_ready(held),
                        NextAttempt::After(delay) => {
                            State::BackingOff { delay: sleep(delay), held: Some(held) }
                        }
                    });
                }
                StateProjection::BackingOff { delay, held } => {
                    ready!(delay.poll(cx));
                    let held = held.take().unwrap_or_else(|| polled_after_completion(NAME));
                    this.state.set(State::waiting_for_ready(held));
                }
                StateProjection::WaitingForReady { held, until, timer } => {
                    let service = held.as_mut().map(|held| &mut held.retries.service);
                    let service = service.unwrap_or_else(|| polled_after_completion(NAME));
                    let is_ready = ready!(poll_ready_until(service, *until, timer, cx));
                    let held = held.take().unwrap_or_else(|| polled_after_completion(NAME));
                    let Held { last, mut retries } = held;
                    let request = match retries.pay(is_ready) {
                        Ok(request) => request,
                        Err(reason) => {
                            retries.stop(reason);
                            return Poll::Ready(last);
                        }
                    };
                    // The last response releases what it occupies before the next attempt begins.
                    drop(last);
                    let response = retries.send(request);
                    this.state.set(State::Calling { response, retries: Some(retries) });
                }
            }
        }
    }
}

impl<S: Service<Req>, P, Req> fmt::Debug for RetryFuture<S, P, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "waiting for the response",
            State::BackingOff { .. } => "waiting for the backoff",
            State::WaitingForReady { .. } => "waiting for the service to be ready",
        };
        f.debug_struct(NAME).field("state", &state).finish_non_exhaustive()
    }
}

/// Waits until `service` is ready for another attempt, while the result of the last attempt is
/// held.
///
/// Ready with false if the service fails or is not ready by `until`: the held result then goes to
/// the caller. Without `until` it waits as long as a new request would.
pub(crate) fn poll_ready_until<S, Req>(
    service: &mut S,
    until: Option<Instant>,
    timer: Pin<&mut LazySleep>,
    cx: &mut Context<'_>,
) -> Poll<bool>
where
    S: Service<Req>,
{
    match (service.poll_ready(cx), until) {
        (Poll::Ready(ready), _) => Poll::Ready(ready.is_ok()),
        (Poll::Pending, Some(until)) => timer.poll(cx, || sleep_until(until)).map(|()| false),
        // The service has registered the waker.
        (Poll::Pending, None) => Poll::Pending,
    }
}

/// Returns true if an attempt that begins now begins before the request's deadline.
pub(crate) fn is_before_deadline(attempts: Option<&Attempts>) -> bool {
    let deadline = attempts.and_then(Attempts::deadline);
    deadline.is_none_or(|deadline| Instant::now() < deadline)
}

/// Returns true if an attempt that begins after `delay` begins before `deadline`.
pub(crate) fn begins_before(delay: Duration, deadline: Instant) -> bool {
    Instant::now().checked_add(delay).is_some_and(|begins| begins < deadline)
}
