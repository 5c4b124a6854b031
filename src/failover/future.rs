use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{When, layer::Rules, switch::Switch};
use crate::{
    BoxError, Error,
    error::chain,
    future::{LazySleep, polled_after_completion},
    limit::Rejected,
    outcome::Attempts,
    retry::{
        RetryDecision, RetryPolicy, RetrySafety, RetryableRequest, begins_in_time, poll_ready_until,
    },
};

pin_project! {
    /// The response of a [`Failover`](super::Failover).
    pub struct FailoverFuture<A, B, J, Req>
    where
        A: Service<Req>,
        B: Service<Req>,
    {
        #[pin]
        state: State<A::Future, B::Future, Again<B, J, Req>, Over<B, Req, A::Response>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<A, B, G, O> {
        // `again` is taken with a request that goes over.
        First { #[pin] response: A, again: Option<G> },
        // For the second service to be ready.
        Readying { over: Option<O>, until: Option<Instant>, #[pin] timer: LazySleep },
        Second { #[pin] response: B },
    }
}

const NAME: &str = "FailoverFuture";

/// What it takes to go over to the second service.
pub(super) struct Again<B, J, Req> {
    pub(super) rules: Arc<Rules<J>>,
    pub(super) switch: Arc<Switch>,
    pub(super) copy: Option<Req>,
    pub(super) retry_safety: RetrySafety,
    pub(super) second: B,
}

/// A request that goes over.
struct Over<B, Req, Rsp> {
    copy: Req,
    second: B,
    /// The answer if the second service can't be asked.
    last: Result<Rsp, BoxError>,
}

impl<A, B, J, Req> FailoverFuture<A, B, J, Req>
where
    A: Service<Req>,
    B: Service<Req>,
{
    pub(super) fn first(response: A::Future, again: Again<B, J, Req>) -> Self {
        Self { state: State::First { response, again: Some(again) } }
    }

    pub(super) fn second(response: B::Future) -> Self {
        Self { state: State::Second { response } }
    }
}

impl<B, J, Req> Again<B, J, Req> {
    /// Whether a request goes over that ended so at the first service.
    fn goes_over<Rsp>(&self, result: &Result<Rsp, BoxError>) -> bool
    where
        J: RetryPolicy<Rsp>,
    {
        let unserved = result.as_ref().err().and_then(|error| Unserved::of(&**error));
        let verdict = match result {
            Ok(response) => self.rules.policy.decide(Ok(response)),
            Err(error) => self.rules.policy.decide(Err(&**error)),
        };
        if unserved.is_none() && verdict == RetryDecision::Final {
            self.switch.succeeded();
            return false;
        }
        self.switch.failed();
        match self.rules.when {
            When::Overloaded => matches!(unserved, Some(Unserved::Overloaded)),
            When::Failed => {
                unserved.is_some()
                    || matches!(verdict, RetryDecision::Unsent | RetryDecision::Refused(_))
                    || self.retry_safety == RetrySafety::Idempotent
            }
        }
    }
}

/// Why no endpoint has seen a request.
enum Unserved {
    Overloaded,
    Otherwise,
}

impl Unserved {
    fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| match error.downcast_ref::<Error>() {
            Some(Error::Overloaded { .. }) => Some(Self::Overloaded),
            Some(error) if error.is_unsent() => Some(Self::Otherwise),
            _ => error.is::<Rejected>().then_some(Self::Overloaded),
        })
    }
}

impl<A, B, J, Req> Future for FailoverFuture<A, B, J, Req>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response>,
    B::Error: Into<BoxError>,
    J: RetryPolicy<A::Response>,
    Req: RetryableRequest,
{
    type Output = Result<A::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::First { response, again } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let again = again.take_if(|again| again.goes_over(&result));
                    let Some(Again { rules, copy, second, .. }) = again else {
                        return Poll::Ready(result);
                    };
                    // A copy of the copy, because a body that was used up can't be repeated.
                    let Some(copy) = copy.as_ref().and_then(RetryableRequest::try_clone) else {
                        return Poll::Ready(result);
                    };
                    let longest = Instant::now().checked_add(rules.max_wait);
                    let deadline = copy.attempts().and_then(Attempts::deadline);
                    let until = longest.into_iter().chain(deadline).min();
                    let over = Some(Over { copy, second, last: result });
                    this.state.set(State::Readying { over, until, timer: LazySleep::default() });
                }
                StateProjection::Readying { over, until, timer } => {
                    let second = over.as_mut().map(|over| &mut over.second);
                    let second = second.unwrap_or_else(|| polled_after_completion(NAME));
                    let is_ready = ready!(poll_ready_until(second, *until, timer, cx));
                    let over = over.take().unwrap_or_else(|| polled_after_completion(NAME));
                    let Over { copy, mut second, last } = over;
                    if !is_ready || !begins_in_time(copy.attempts()) {
                        return Poll::Ready(last);
                    }
                    // What the first answer holds is let go.
                    drop(last);
                    if let Some(attempts) = copy.attempts() {
                        attempts.begin_next();
                    }
                    let response = second.call(copy);
                    this.state.set(State::Second { response });
                }
                StateProjection::Second { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
            }
        }
    }
}

impl<A, B, J, Req> fmt::Debug for FailoverFuture<A, B, J, Req>
where
    A: Service<Req>,
    B: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::First { .. } => "at the first service",
            State::Readying { .. } => "waiting for the second service to be ready",
            State::Second { .. } => "at the second service",
        };
        f.debug_struct("FailoverFuture").field("state", &state).finish_non_exhaustive()
    }
}
