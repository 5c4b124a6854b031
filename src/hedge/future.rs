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
    limit::is_turned_away,
    outcome::Attempts,
    retry::{Judge, Repeat, Verdict, in_time},
};

pin_project! {
    /// The response of a [`Hedge`](super::Hedge).
    pub struct HedgeFuture<S, J, Req>
    where
        S: Service<Req>,
    {
        // Until it has failed.
        #[pin]
        first: Option<S::Future>,
        // `None` for a request that is neither hedged nor measured, which should be small.
        others: Option<Box<Others<S, J, Req>>>,
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
    /// The answer if all fail: the first attempt's, if that one has.
    failed: Option<Result<S::Response, BoxError>>,
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
        Self { first: Some(response), others: None }
    }

    #[inline]
    pub(super) fn hedged(
        response: S::Future,
        rules: Arc<Rules<J>>,
        started: Option<Instant>,
        next: Option<Next<S, Req>>,
    ) -> Self {
        let (under_way, timer, failed) = (Vec::new(), None, None);
        let others = Others { rules, started, next, timer, under_way, failed };
        Self { first: Some(response), others: Some(Box::new(others)) }
    }
}

impl<S, J, Req> Future for HedgeFuture<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: Judge<S::Response>,
    Req: Repeat,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let first = this.first.as_mut().as_pin_mut().map(|first| first.poll(cx));
            let ended = match first {
                Some(Poll::Ready(result)) => {
                    this.first.set(None);
                    Some(result.map_err(Into::into))
                }
                _ => None,
            };
            let Some(others) = this.others.as_mut() else {
                return ended.map_or(Poll::Pending, Poll::Ready);
            };
            let good = ended.and_then(|result| others.ended(result, true));
            if let Some(good) = good.or_else(|| others.poll(cx)) {
                this.first.set(None);
                *this.others = None;
                return Poll::Ready(good);
            }
            if this.first.is_none() && others.under_way.is_empty() {
                return others.failed.take().map_or(Poll::Pending, Poll::Ready);
            }
            let Some(delay) = others.delay() else { return Poll::Pending };
            let timer = others.timer.get_or_insert_with(|| Box::pin(sleep(delay)));
            if !timer.is_elapsed() {
                ready!(timer.as_mut().poll(cx));
            }
            ready!(others.poll_send(cx));
            others.timer = None;
        }
    }
}

impl<S, J, Req> Others<S, J, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    J: Judge<S::Response>,
    Req: Repeat,
{
    /// An attempt has ended: gives the result back if it is good.
    fn ended(
        &mut self,
        result: Result<S::Response, BoxError>,
        is_first: bool,
    ) -> Option<Result<S::Response, BoxError>> {
        let good = match &result {
            Ok(response) => self.rules.judge.judge(Ok(response)) == Verdict::Final,
            Err(_) => false,
        };
        if !good {
            if is_first || self.failed.is_none() {
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
                Err(error) if is_turned_away(&**error) => {
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
        let copy = ready.then(|| next.copy.repeat()).flatten();
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
        let others = self.others.as_ref().map_or(0, |others| others.under_way.len());
        let under_way = others + usize::from(self.first.is_some());
        f.debug_struct("HedgeFuture").field("under_way", &under_way).finish_non_exhaustive()
    }
}
