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
    service::Shared,
    status::{HedgeEnd, SentHedge},
};
use crate::{
    BoxError,
    future::polled_after_completion,
    limit::is_rejected,
    outcome::{Attempts, Fault},
    retry::{
        DEFAULT_MAX_DELAY, RetryDecision, RetryPolicy, RetryableRequest, as_dyn, begins_before,
    },
};

const NAME: &str = "HedgeFuture";

pin_project! {
    /// The response of a [`Hedge`](super::Hedge).
    pub struct HedgeFuture<S, P, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future, Hedges<S, P, Req>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, H> {
        // Neither hedged nor measured. `hedges` below is boxed to keep this state small.
        Single { #[pin] response: F },
        // `first` is `None` once it has failed, `hedges` once the result was returned.
        Hedged { #[pin] first: Option<F>, hedges: Option<Box<H>> },
    }
}

/// The hedges in flight, what is needed to send further ones, and the failure to return if all
/// fail.
struct Hedges<S: Service<Req>, P, Req> {
    shared: Arc<Shared<P>>,
    /// When the request was sent, if latencies are measured.
    started: Option<Instant>,
    /// `None` if no further hedge is to be sent.
    next: Option<NextHedge<S, Req>>,
    /// Ends the delay before the next hedge. Starts when the attempts in flight are first pending.
    delay_timer: Option<Pin<Box<Sleep>>>,
    in_flight: Vec<InFlight<S::Future>>,
    /// The first attempt's result, if it failed. It goes to the caller if all attempts fail.
    failed: Option<Result<S::Response, BoxError>>,
    /// How long a failed response is held while other attempts are in flight.
    max_hold: Duration,
    hold_timer: Option<Pin<Box<Sleep>>>,
}

/// A hedge in flight.
struct InFlight<F> {
    response: Pin<Box<F>>,
    /// When it was paid for.
    withdrawn: Instant,
    sent: SentHedge,
}

/// What is needed to send another hedge.
pub(super) struct NextHedge<S, Req> {
    pub(super) copy: Req,
    pub(super) attempts: Attempts,
    pub(super) service: S,
    pub(super) delay: Duration,
    /// How many hedges may still be sent.
    pub(super) left: u32,
}

impl<S: Service<Req>, P, Req> HedgeFuture<S, P, Req> {
    #[inline]
    pub(super) fn single(response: S::Future) -> Self {
        Self { state: State::Single { response } }
    }

    #[inline]
    pub(super) fn hedged(
        response: S::Future,
        shared: Arc<Shared<P>>,
        started: Option<Instant>,
        next: Option<NextHedge<S, Req>>,
    ) -> Self {
        let delay = next.as_ref().map_or(Duration::ZERO, |next| next.delay);
        let hedges = Hedges {
            shared,
            started,
            next,
            delay_timer: None,
            in_flight: Vec::new(),
            failed: None,
            max_hold: delay.max(DEFAULT_MAX_DELAY),
            hold_timer: None,
        };
        Self { state: State::Hedged { first: Some(response), hedges: Some(Box::new(hedges)) } }
    }
}

impl<S, P, Req> Future for HedgeFuture<S, P, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Single { response } => response.poll(cx).map_err(Into::into),
            StateProjection::Hedged { mut first, hedges } => {
                let result = hedges.as_mut().map(|hedges| hedges.poll_result(first.as_mut(), cx));
                let result = result.unwrap_or_else(|| polled_after_completion(NAME));
                let result = ready!(result);
                let unfinished = hedges.iter_mut().flat_map(|hedges| &mut hedges.in_flight);
                unfinished.for_each(|hedge| hedge.sent.ends(HedgeEnd::Lost));
                // The attempts that are still in flight are cancelled now, not when the caller
                // drops this future.
                first.set(None);
                *hedges = None;
                Poll::Ready(result)
            }
        }
    }
}

impl<S, P, Req> Hedges<S, P, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    P: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    /// Polls all attempts. Ready with the first final result, or with the first attempt's failure
    /// if there is nothing more to wait for.
    fn poll_result(
        &mut self,
        mut first: Pin<&mut Option<S::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, BoxError>> {
        // Each round may send a hedge, which the next round polls for the first time.
        loop {
            if let Some(Poll::Ready(result)) = first.as_mut().as_pin_mut().map(|one| one.poll(cx)) {
                first.set(None);
                if let Some(result) = self.final_result(result.map_err(Into::into), true) {
                    return Poll::Ready(result);
                }
            }
            if let Some(result) = self.poll_hedges(cx) {
                return Poll::Ready(result);
            }
            let none_in_flight = first.is_none() && self.in_flight.is_empty();
            let failed = self.failed.take_if(|_| none_in_flight);
            if let Some(failed) = failed.or_else(|| self.poll_hold(cx)) {
                return Poll::Ready(failed);
            }
            // The attempts in flight have registered the waker.
            let Some(delay) = self.next_delay() else { return Poll::Pending };
            let timer = self.delay_timer.get_or_insert_with(|| Box::pin(sleep(delay)));
            // The timer may have ended in an earlier poll that then found the service not ready.
            if !timer.is_elapsed() {
                ready!(timer.as_mut().poll(cx));
            }
            ready!(self.poll_send(cx));
            self.delay_timer = None;
        }
    }

    /// Returns the failed response if it was held for the maximum time: it may occupy the very
    /// permit that another attempt waits for. An error occupies nothing, and is held as long as
    /// necessary.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Option<Result<S::Response, BoxError>> {
        let max_hold = self.max_hold;
        self.failed.take_if(|failed| {
            failed.is_ok() && {
                let timer = self.hold_timer.get_or_insert_with(|| Box::pin(sleep(max_hold)));
                timer.as_mut().poll(cx).is_ready()
            }
        })
    }

    /// Returns the result of an attempt if no other attempt would change it, and records the
    /// latency of a response.
    fn final_result(
        &mut self,
        result: Result<S::Response, BoxError>,
        is_first: bool,
    ) -> Option<Result<S::Response, BoxError>> {
        let decision = self.shared.settings.policy.decide(as_dyn(&result));
        let is_final = decision == RetryDecision::Final
            && match &result {
                Ok(_) => true,
                // A hedge in flight has found an endpoint, whatever became of the first attempt.
                Err(error) if is_first => !is_rejected(&**error),
                // A hedge that could not be sent says nothing about the first attempt. Its copy of
                // the body fails if it gets ahead beyond what is kept. If the body itself has
                // failed, the first attempt fails as well.
                Err(error) => !Fault::of(&**error).is_some_and(Fault::is_ours),
            };
        if !is_final {
            // Only the first attempt's failure can go to the caller. A hedge's failed response is
            // dropped now, so that it occupies nothing.
            if is_first {
                self.failed = Some(result);
            }
            return None;
        }
        if let Some(started) = self.started.filter(|_| result.is_ok()) {
            // Measured from the first attempt even if a hedge won: the first would have taken at
            // least this long.
            self.shared.delay.record(started);
        }
        Some(result)
    }

    /// Polls the hedges in flight, and returns the first final result.
    fn poll_hedges(&mut self, cx: &mut Context<'_>) -> Option<Result<S::Response, BoxError>> {
        let mut index = 0;
        while let Some(hedge) = self.in_flight.get_mut(index) {
            let Poll::Ready(result) = hedge.response.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            let InFlight { response, withdrawn, mut sent } = self.in_flight.swap_remove(index);
            drop(response);
            sent.ends(HedgeEnd::Lost);
            let result = result.map_err(Into::into);
            match &result {
                // No other endpoint, or no permit, was available for the hedge, and none is
                // expected for the next one. Nothing was sent, so nothing was spent.
                Err(error) if is_rejected(&**error) => {
                    sent.ends(HedgeEnd::Rejected);
                    self.shared.budget.refund(withdrawn);
                    self.next = None;
                }
                _ => {
                    if let Some(result) = self.final_result(result, false) {
                        sent.ends(HedgeEnd::Won);
                        return Some(result);
                    }
                }
            }
        }
        None
    }

    /// Returns the delay before the next hedge; `None` if no more hedges are left, or if it would
    /// begin after the deadline.
    fn next_delay(&self) -> Option<Duration> {
        let next = self.next.as_ref()?;
        let deadline = next.attempts.deadline();
        let in_time = deadline.is_none_or(|deadline| begins_before(next.delay, deadline));
        (in_time && next.left > 0).then_some(next.delay)
    }

    /// Sends another hedge when the service is ready. Without a copy or budget, no more hedges are
    /// sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = &mut self.next else { return Poll::Ready(()) };
        let is_ready = ready!(next.service.poll_ready(cx)).is_ok();
        let copy = is_ready.then(|| next.copy.try_clone()).flatten();
        let is_paid = copy.is_some() && self.shared.budget.withdraw();
        if copy.is_some() && !is_paid {
            self.shared.counters.count_refused();
        }
        match copy.filter(|_| is_paid) {
            Some(copy) => {
                next.left -= 1;
                // The balancer rejects the hedge if every endpoint has been tried.
                next.attempts.begin_elsewhere();
                let sent = SentHedge::new(&self.shared.counters);
                let response = Box::pin(next.service.call(copy));
                self.in_flight.push(InFlight { response, withdrawn: Instant::now(), sent });
            }
            None => self.next = None,
        }
        Poll::Ready(())
    }
}

impl<S: Service<Req>, P, Req> fmt::Debug for HedgeFuture<S, P, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = match &self.state {
            State::Single { .. } => 1,
            State::Hedged { first, hedges } => {
                let hedges = hedges.as_ref().map_or(0, |hedges| hedges.in_flight.len());
                hedges + usize::from(first.is_some())
            }
        };
        f.debug_struct(NAME).field("in_flight", &in_flight).finish_non_exhaustive()
    }
}
