use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    FailoverOn,
    service::{PrimaryState, Settings},
    status::FailoverReason,
};
use crate::{
    BoxError, Error,
    error::chain,
    escape::Escaped,
    future::{LazySleep, polled_after_completion},
    limit::Rejected,
    outcome::Attempts,
    retry::{
        FailureReason, RetryDecision, RetryPolicy, RetrySafety, RetryableRequest, as_dyn,
        is_before_deadline, poll_ready_until,
    },
};

const NAME: &str = "FailoverFuture";

pin_project! {
    /// The response of a [`Failover`](super::Failover).
    pub struct FailoverFuture<A, B, P, Req>
    where
        A: Service<Req>,
        B: Service<Req>,
    {
        #[pin]
        state: State<A::Future, B::Future, FailoverContext<B, P, Req>, Held<B, P, Req, A::Response>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<A, B, C, H> {
        // `context` is taken when the request fails over.
        AtPrimary { #[pin] response: A, context: Option<C> },
        // The fallback is not ready.
        WaitingForReady { held: Option<H>, until: Option<Instant>, #[pin] timer: LazySleep },
        AtFallback { #[pin] response: B },
    }
}

/// What is needed to fail over.
pub(super) struct FailoverContext<B, P, Req> {
    pub(super) settings: Arc<Settings<P>>,
    pub(super) state: Arc<PrimaryState>,
    /// `None` if the request cannot be copied.
    pub(super) copy: Option<Req>,
    pub(super) retry_safety: RetrySafety,
    pub(super) fallback: B,
}

/// What is held while the fallback is not ready.
struct Held<B, P, Req, Rsp> {
    settings: Arc<Settings<P>>,
    reason: FailoverReason,
    copy: Req,
    fallback: B,
    /// The primary's result, which goes to the caller if the fallback cannot be called.
    last: Result<Rsp, BoxError>,
}

impl<A, B, P, Req> FailoverFuture<A, B, P, Req>
where
    A: Service<Req>,
    B: Service<Req>,
{
    pub(super) fn at_primary(response: A::Future, context: FailoverContext<B, P, Req>) -> Self {
        Self { state: State::AtPrimary { response, context: Some(context) } }
    }

    pub(super) fn at_fallback(response: B::Future) -> Self {
        Self { state: State::AtFallback { response } }
    }
}

impl<B, P, Req> FailoverContext<B, P, Req> {
    /// Records the primary's result. Returns why the request fails over, if it does.
    fn fails_over<Rsp>(&self, result: &Result<Rsp, BoxError>) -> Option<FailoverReason>
    where
        P: RetryPolicy<Rsp>,
    {
        let unsent = result.as_ref().err().and_then(|error| Unsent::of(&**error));
        let decision = self.settings.policy.decide(as_dyn(result));
        // A policy gives up on requests that the primary's balancer or a limit rejected, because a
        // retry would meet the same. The fallback does not.
        let reason = match unsent {
            Some(Unsent::Overloaded) => Some(FailoverReason::Busy),
            Some(Unsent::Unavailable) => Some(FailoverReason::Unavailable),
            None => FailureReason::of_decision(&decision).map(Into::into),
        };
        let Some(reason) = reason else {
            match result {
                Ok(_) => self.record_success(),
                // A final error, such as one of the caller, says nothing about the primary.
                Err(_) => self.state.return_probe(),
            }
            return None;
        };
        self.record_failure(reason);
        let fails_over = match self.settings.on {
            FailoverOn::Overload => matches!(unsent, Some(Unsent::Overloaded)),
            FailoverOn::Failure => {
                unsent.is_some()
                    || matches!(decision, RetryDecision::Unsent | RetryDecision::Refused(_))
                    || self.retry_safety == RetrySafety::Idempotent
            }
        };
        if !fails_over {
            self.settings.count_stopped();
        }
        fails_over.then_some(reason)
    }

    fn record_success(&self) {
        let Some(lasted) = self.state.record_success() else { return };
        self.settings.counters.returns.fetch_add(1, Relaxed);
        if self.settings.counters.returning.begins() {
            tracing::info!(
                failover = %Escaped(&self.settings.name),
                ?lasted,
                "requests go to the primary service again, as it has succeeded"
            );
        }
    }

    fn record_failure(&self, reason: FailoverReason) {
        let Some(failures) = self.state.record_failure() else { return };
        self.settings.counters.switches.fetch_add(1, Relaxed);
        if self.settings.counters.switching.begins() {
            tracing::warn!(
                failover = %Escaped(&self.settings.name),
                failures,
                cause = reason.as_str(),
                "requests go to the fallback, as the primary service has failed repeatedly"
            );
        }
    }
}

impl<P> Settings<P> {
    /// Counts a request whose failure at the primary goes to the caller.
    fn count_stopped(&self) {
        self.counters.stopped.fetch_add(1, Relaxed);
    }
}

/// Why no endpoint has seen a request.
enum Unsent {
    Overloaded,
    Unavailable,
}

impl Unsent {
    fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| match error.downcast_ref::<Error>() {
            Some(Error::Overloaded { .. }) => Some(Self::Overloaded),
            Some(error) if error.is_unsent() => Some(Self::Unavailable),
            _ => error.is::<Rejected>().then_some(Self::Overloaded),
        })
    }
}

impl<A, B, P, Req> Future for FailoverFuture<A, B, P, Req>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response>,
    B::Error: Into<BoxError>,
    P: RetryPolicy<A::Response>,
    Req: RetryableRequest,
{
    type Output = Result<A::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::AtPrimary { response, context } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let reason = context.as_ref().and_then(|context| context.fails_over(&result));
                    let context = context.take_if(|_| reason.is_some());
                    let (Some(context), Some(reason)) = (context, reason) else {
                        return Poll::Ready(result);
                    };
                    let FailoverContext { settings, copy, fallback, .. } = context;
                    // Copied again to find out whether that is still possible: the primary may have
                    // read more of the body than can be replayed.
                    let Some(copy) = copy.as_ref().and_then(RetryableRequest::try_clone) else {
                        settings.count_stopped();
                        return Poll::Ready(result);
                    };
                    let longest = Instant::now().checked_add(settings.max_wait);
                    let deadline = copy.attempts().and_then(Attempts::deadline);
                    let until = longest.into_iter().chain(deadline).min();
                    let held = Some(Held { settings, reason, copy, fallback, last: result });
                    let timer = LazySleep::default();
                    this.state.set(State::WaitingForReady { held, until, timer });
                }
                StateProjection::WaitingForReady { held, until, timer } => {
                    let fallback = held.as_mut().map(|held| &mut held.fallback);
                    let fallback = fallback.unwrap_or_else(|| polled_after_completion(NAME));
                    let is_ready = ready!(poll_ready_until(fallback, *until, timer, cx));
                    let held = held.take().unwrap_or_else(|| polled_after_completion(NAME));
                    let Held { settings, reason, copy, mut fallback, last } = held;
                    if !is_ready || !is_before_deadline(copy.attempts()) {
                        settings.count_stopped();
                        return Poll::Ready(last);
                    }
                    // The primary's response releases what it occupies before the fallback is
                    // called.
                    drop(last);
                    if let Some(attempts) = copy.attempts() {
                        attempts.begin_next();
                    }
                    settings.counters.failovers.count(reason);
                    let response = fallback.call(copy);
                    this.state.set(State::AtFallback { response });
                }
                StateProjection::AtFallback { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
            }
        }
    }
}

impl<A, B, P, Req> fmt::Debug for FailoverFuture<A, B, P, Req>
where
    A: Service<Req>,
    B: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::AtPrimary { .. } => "waiting for the primary",
            State::WaitingForReady { .. } => "waiting for the fallback to be ready",
            State::AtFallback { .. } => "waiting for the fallback",
        };
        f.debug_struct(NAME).field("state", &state).finish_non_exhaustive()
    }
}
