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

use super::layer::Rules;
use crate::{
    BoxError,
    future::polled_after_completion,
    limit::is_rejected,
    outcome::Attempts,
    retry::{DEFAULT_LONGEST, RetryDecision, RetryPolicy, RetryableRequest, in_time},
};

pin_project! {
    /// The response of a [`Hedge`](super::Hedge).
    pub struct HedgeFuture<S, J, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future, Others<S, J, Req>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, O> {
        // Neither hedged nor measured, which should be small.
        Single { #[pin] response: F },
        // `first` is there until it has failed, `others` until one has answered or all have failed.
        Hedged { #[pin] first: Option<F>, others: Option<Box<O>> },
    }
}

/// The other attempts, made and to be made, and what has come of all so far.
struct Others<S: Service<Req>, J, Req> {
    rules: Arc<Rules<J>>,
    started: Option<Instant>,
    next: Option<Next<S, Req>>,
    /// Until the next, from when an answer is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// And when they were paid for.
    under_way: Vec<(Pin<Box<S::Future>>, Instant)>,
    /// The answer if all fail: the first attempt's.
    failed: Option<Result<S::Response, BoxError>>,
    /// How long a response in hand waits for the other attempts, and the timer for that.
    longest: Duration,
    patience: Option<Pin<Box<Sleep>>>,
}

/// What it takes to send another attempt.
pub(super) struct Next<S, Req> {
    pub(super) copy: Req,
    pub(super) attempts: Attempts,
    pub(super) service: S,
    pub(super) delay: Duration,
    pub(super) left: u32,
}

impl<S: Service<Req>, J, Req> HedgeFuture<S, J, Req> {
    #[inline]
    pub(super) fn single(response: S::Future) -> Self {
        Self { state: State::Single { response } }
    }

    #[inline]
    pub(super) fn hedged(
        response: S::Future,
        rules: Arc<Rules<J>>,
        started: Option<Instant>,
        next: Option<Next<S, Req>>,
    ) -> Self {
        let longest = next.as_ref().map_or(DEFAULT_LONGEST, |next| next.delay.max(DEFAULT_LONGEST));
        let others = Others {
            rules,
            started,
            next,
            timer: None,
            under_way: Vec::new(),
            failed: None,
            longest,
            patience: None,
        };
        Self { state: State::Hedged { first: Some(response), others: Some(Box::new(others)) } }
    }
}

impl<S, J, Req> Future for HedgeFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Single { response } => response.poll(cx).map_err(Into::into),
            StateProjection::Hedged { mut first, others } => {
                let answer = others.as_mut().map(|others| others.poll_answer(first.as_mut(), cx));
                let answer = answer.unwrap_or_else(|| polled_after_completion("HedgeFuture"));
                let answer = ready!(answer);
                // The attempts that are still in flight are cancelled.
                first.set(None);
                *others = None;
                Poll::Ready(answer)
            }
        }
    }
}

impl<S, J, Req> Others<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: RetryPolicy<S::Response>,
    Req: RetryableRequest,
{
    /// The answer to the request: the first good one, or a failure if there is none to wait for.
    fn poll_answer(
        &mut self,
        mut first: Pin<&mut Option<S::Future>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Response, BoxError>> {
        loop {
            if let Some(Poll::Ready(result)) = first.as_mut().as_pin_mut().map(|one| one.poll(cx)) {
                first.set(None);
                if let Some(good) = self.ended(result.map_err(Into::into), true) {
                    return Poll::Ready(good);
                }
            }
            if let Some(good) = self.poll(cx) {
                return Poll::Ready(good);
            }
            let none_left = first.is_none() && self.under_way.is_empty();
            let failed = self.failed.take_if(|_| none_left);
            if let Some(failed) = failed.or_else(|| self.poll_patience(cx)) {
                return Poll::Ready(failed);
            }
            // The attempts in flight have registered the waker.
            let Some(delay) = self.delay() else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(delay)));
            if !timer.is_elapsed() {
                ready!(timer.as_mut().poll(cx));
            }
            ready!(self.poll_send(cx));
            self.timer = None;
        }
    }

    /// A response in hand that has waited long enough: it may hold the very room that another attempt
    /// waits for. An error holds nothing, and waits.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Option<Result<S::Response, BoxError>> {
        let longest = self.longest;
        self.failed.take_if(|failed| {
            failed.is_ok() && {
                let timer = self.patience.get_or_insert_with(|| Box::pin(sleep(longest)));
                timer.as_mut().poll(cx).is_ready()
            }
        })
    }

    /// An attempt has ended: gives the result back if it is good.
    fn ended(
        &mut self,
        result: Result<S::Response, BoxError>,
        is_first: bool,
    ) -> Option<Result<S::Response, BoxError>> {
        let good = match &result {
            Ok(response) => self.rules.policy.decide(Ok(response)) == RetryDecision::Final,
            Err(_) => false,
        };
        if !good {
            // Only the first attempt's failure is ever the answer, so what the others hold is let go.
            if is_first {
                self.failed = Some(result);
            }
            return None;
        }
        if let Some(started) = self.started {
            self.rules.clock.answered(started);
        }
        Some(result)
    }

    /// A good answer of one of the others, if there is one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Result<S::Response, BoxError>> {
        let mut index = 0;
        while let Some((hedge, withdrawn)) = self.under_way.get_mut(index) {
            let withdrawn = *withdrawn;
            let Poll::Ready(result) = hedge.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            drop(self.under_way.swap_remove(index));
            let result = result.map_err(Into::into);
            match &result {
                // There was no other endpoint, or no room, and none is to be expected.
                Err(error) if is_rejected(&**error) => {
                    self.rules.budget.give_back(withdrawn);
                    self.next = None;
                }
                _ => {
                    if let Some(good) = self.ended(result, false) {
                        return Some(good);
                    }
                }
            }
        }
        None
    }

    /// How long to wait before the next hedge; `None` if there is to be none.
    fn delay(&self) -> Option<Duration> {
        let next = self.next.as_ref()?;
        let deadline = next.attempts.deadline();
        let in_time = deadline.is_none_or(|deadline| in_time(next.delay, deadline));
        (in_time && next.left > 0).then_some(next.delay)
    }

    /// Sends another attempt when the service is ready, or gives up to, for want of budget or of a
    /// copy.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = &mut self.next else { return Poll::Ready(()) };
        let ready = ready!(next.service.poll_ready(cx)).is_ok();
        let copy = ready.then(|| next.copy.try_clone()).flatten();
        match copy.filter(|_| self.rules.budget.withdraw()) {
            Some(copy) => {
                next.left -= 1;
                next.attempts.begin_elsewhere();
                let response = Box::pin(next.service.call(copy));
                self.under_way.push((response, Instant::now()));
            }
            None => self.next = None,
        }
        Poll::Ready(())
    }
}

impl<S: Service<Req>, J, Req> fmt::Debug for HedgeFuture<S, J, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = match &self.state {
            State::Single { .. } => 1,
            State::Hedged { first, others } => {
                let others = others.as_ref().map_or(0, |others| others.under_way.len());
                others + usize::from(first.is_some())
            }
        };
        f.debug_struct("HedgeFuture").field("under_way", &under_way).finish_non_exhaustive()
    }
}
