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
    BoxError, Error,
    outcome::Attempts,
    retry::{Judge, Repeat, Verdict},
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
        // Until the next hedge, from when an answer is waited for.
        #[pin]
        timer: Option<Sleep>,
        others: Others<S, J, Req>,
    }
}

/// The other attempts, made and to be made, and what has come of all so far.
struct Others<S: Service<Req>, J, Req> {
    /// `None` if the request is neither hedged nor measured.
    rules: Option<Arc<Rules<J>>>,
    started: Option<Instant>,
    next: Option<Next<S, Req>>,
    under_way: Vec<Pin<Box<S::Future>>>,
    /// The answer if all fail.
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
        let (rules, started, next, failed) = (None, None, None, None);
        let others = Others { rules, started, next, under_way: Vec::new(), failed };
        Self { first: Some(response), timer: None, others }
    }

    #[inline]
    pub(super) fn hedged(
        response: S::Future,
        rules: Arc<Rules<J>>,
        started: Option<Instant>,
        next: Option<Next<S, Req>>,
    ) -> Self {
        let mut single = Self::single(response);
        single.others = Others { rules: Some(rules), started, next, ..single.others };
        single
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
            let good = match first {
                Some(Poll::Ready(result)) => {
                    this.first.set(None);
                    this.others.ended(result.map_err(Into::into))
                }
                _ => None,
            };
            if let Some(good) = good.or_else(|| this.others.poll(cx)) {
                this.first.set(None);
                this.others.drop_all();
                return Poll::Ready(good);
            }
            if this.first.is_none() && this.others.under_way.is_empty() {
                let failed = this.others.failed.take();
                return failed.map_or(Poll::Pending, Poll::Ready);
            }
            let Some(delay) = this.others.delay() else { return Poll::Pending };
            if this.timer.is_none() {
                this.timer.set(Some(sleep(delay)));
            }
            if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                if !timer.is_elapsed() {
                    ready!(timer.poll(cx));
                }
            }
            ready!(this.others.poll_send(cx));
            this.timer.set(None);
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
    ) -> Option<Result<S::Response, BoxError>> {
        let Some(rules) = &self.rules else { return Some(result) };
        let good = match &result {
            Ok(response) => rules.judge.judge(Ok(response)) == Verdict::Final,
            Err(_) => false,
        };
        if !good {
            self.failed.get_or_insert(result);
            return None;
        }
        if let Some(started) = self.started {
            rules.clock.answered(started);
        }
        Some(result)
    }

    /// A good answer of one of the others, if there is one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Result<S::Response, BoxError>> {
        let mut index = 0;
        while let Some(hedge) = self.under_way.get_mut(index) {
            let Poll::Ready(result) = hedge.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            drop(self.under_way.swap_remove(index));
            let result = result.map_err(Into::into);
            let unsent = |error: &BoxError| error.downcast_ref().is_some_and(Error::is_unsent);
            match (&self.rules, &result) {
                // There was no other endpoint, and none is to be expected.
                (Some(rules), Err(error)) if unsent(error) => {
                    rules.budget.give_back();
                    self.next = None;
                }
                _ => {
                    if let Some(good) = self.ended(result) {
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
        let in_time = deadline.is_none_or(|deadline| Instant::now() + next.delay < deadline);
        (in_time && next.left > 0).then_some(next.delay)
    }

    /// Sends another attempt when the service is ready, or gives up to, for want of budget or of a
    /// copy.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(rules), Some(next)) = (&self.rules, &mut self.next) else {
            return Poll::Ready(());
        };
        let ready = ready!(next.service.poll_ready(cx)).is_ok();
        let copy = ready.then(|| next.copy.repeat()).flatten();
        match copy.filter(|_| rules.budget.withdraw()) {
            Some(copy) => {
                next.left -= 1;
                next.attempts.begin_elsewhere();
                self.under_way.push(Box::pin(next.service.call(copy)));
            }
            None => self.next = None,
        }
        Poll::Ready(())
    }

    fn drop_all(&mut self) {
        self.next = None;
        self.under_way = Vec::new();
        self.failed = None;
    }
}

impl<S: Service<Req>, J, Req> fmt::Debug for HedgeFuture<S, J, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.others.under_way.len() + usize::from(self.first.is_some());
        f.debug_struct("HedgeFuture").field("under_way", &under_way).finish_non_exhaustive()
    }
}
