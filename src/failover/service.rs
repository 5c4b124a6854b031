use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    FailoverFuture, When,
    future::Again,
    layer::Rules,
    switch::{Switch, Turn},
};
use crate::{
    BoxError,
    escape::EscapedChain,
    retry::{RetryPolicy, RetrySafety, RetryableRequest},
};

/// Sends requests to a first service, and to a second if that can't serve them.
///
/// - Each request is sent to either service once at the most. It goes over only if it may be repeated,
///   or has not been sent: the first had no endpoint, no room, or rejected it.
/// - While the first service is not ready, requests wait for it, unless they spill over on
///   [overload](When::Overloaded); give its balancer a
///   [`fail_fast`](crate::balance::Builder::fail_fast) to go over instead.
/// - Once the first can never work again, all requests go to the second.
/// - A request that goes over waits for the second service to be ready no longer than
///   [`max_wait`](super::FailoverBuilder::max_wait), and is not sent there after its
///   [deadline](crate::outcome::Attempts::deadline): then the first's answer is the answer.
/// - What the second answers is the answer, be it good or not.
#[derive(Debug)]
pub struct Failover<A, B, J> {
    first: A,
    second: B,
    rules: Arc<Rules<J>>,
    switch: Arc<Switch>,
    /// Which one was polled ready.
    target: Target,
    /// This one has the turn to try the first.
    probing: bool,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    First,
    Second,
}

impl<A, B, J> Failover<A, B, J> {
    pub(super) fn new(first: A, second: B, rules: Arc<Rules<J>>, switch: Arc<Switch>) -> Self {
        Self { first, second, rules, switch, target: Target::First, probing: false }
    }

    /// Whether the next request should try the first service.
    fn tries_first(&mut self) -> bool {
        if self.switch.first_is_gone() {
            return false;
        }
        if !self.probing {
            match self.switch.turn() {
                Turn::First => {}
                Turn::Probe => self.probing = true,
                Turn::Second => return false,
            }
        }
        true
    }
}

impl<A: Clone, B: Clone, J> Clone for Failover<A, B, J> {
    fn clone(&self) -> Self {
        let (rules, switch) = (Arc::clone(&self.rules), Arc::clone(&self.switch));
        Self::new(self.first.clone(), self.second.clone(), rules, switch)
    }
}

impl<A, B, J> Drop for Failover<A, B, J> {
    fn drop(&mut self) {
        if self.probing {
            self.switch.give_turn_back();
        }
    }
}

impl<A, B, J, Req> Service<Req> for Failover<A, B, J>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response> + Clone,
    B::Error: Into<BoxError>,
    J: RetryPolicy<A::Response>,
    Req: RetryableRequest,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = FailoverFuture<A, B, J, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut first_may_come = false;
        if self.tries_first() {
            match self.first.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    self.target = Target::First;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if self.rules.when == When::Failed && !self.probing => {
                    return Poll::Pending;
                }
                Poll::Pending => first_may_come = true,
                Poll::Ready(Err(error)) => {
                    if self.switch.lose_first() {
                        tracing::error!(
                            error = %EscapedChain(&*error.into()),
                            "the first service of a failover is gone, the second is used from now on",
                        );
                    }
                }
            }
        }
        match ready!(self.second.poll_ready(cx)) {
            // It is the first's failure to get ready that brought us here.
            Err(_) if first_may_come => return Poll::Pending,
            ready => ready.map_err(Into::into)?,
        }
        if std::mem::take(&mut self.probing) {
            // The first was not ready for the probe, and nobody should wait for that.
            self.switch.give_turn_back();
        }
        self.target = Target::Second;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Target::Second = self.target {
            return FailoverFuture::second(self.second.call(request));
        }
        self.probing = false;
        let retry_safety = request.retry_safety();
        let copy = if retry_safety == RetrySafety::Never { None } else { request.try_clone() };
        let again = Again {
            rules: Arc::clone(&self.rules),
            switch: Arc::clone(&self.switch),
            copy,
            retry_safety,
            second: self.second.clone(),
        };
        FailoverFuture::first(self.first.call(request), again)
    }
}
