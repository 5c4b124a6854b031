use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{FailoverFuture, When, future::Again, layer::Rules};
use crate::{
    BoxError,
    retry::{Judge, Repeat, Safety},
};

/// Sends requests to a first service, and to a second if that can't serve them.
///
/// - Each request is sent to either service once at the most. It goes over only if it may be repeated,
///   or has not been sent: the first had no endpoint, no room, or rejected it.
/// - While the first service is not ready, requests wait for it, unless they spill over on
///   [overload](When::Overloaded); give its balancer a
///   [`fail_fast`](crate::balance::Builder::fail_fast) to go over instead.
/// - Once the first can never work again, all requests go to the second.
/// - What the second answers is the answer, be it good or not.
#[derive(Debug)]
pub struct Failover<A, B, J> {
    first: A,
    second: B,
    rules: Arc<Rules<J>>,
    /// Which one was polled ready.
    target: Target,
    first_is_gone: bool,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    First,
    Second,
}

impl<A, B, J> Failover<A, B, J> {
    pub(super) fn new(first: A, second: B, rules: Arc<Rules<J>>) -> Self {
        Self { first, second, rules, target: Target::First, first_is_gone: false }
    }
}

impl<A: Clone, B: Clone, J> Clone for Failover<A, B, J> {
    fn clone(&self) -> Self {
        Self::new(self.first.clone(), self.second.clone(), Arc::clone(&self.rules))
    }
}

impl<A, B, J, Req> Service<Req> for Failover<A, B, J>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response> + Clone,
    B::Error: Into<BoxError>,
    J: Judge<A::Response>,
    Req: Repeat,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = FailoverFuture<A, B, J, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.first_is_gone && !self.rules.switch.is_over() {
            self.target = Target::First;
            match self.first.poll_ready(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Pending if self.rules.when == When::Failed => return Poll::Pending,
                Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!(
                        error = &*error.into(),
                        "the first service of a failover is gone, the second is used from now on",
                    );
                    self.first_is_gone = true;
                }
            }
        }
        ready!(self.second.poll_ready(cx)).map_err(Into::into)?;
        self.target = Target::Second;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let Target::Second = self.target {
            return FailoverFuture::second(self.second.call(request));
        }
        let safety = request.safety();
        let copy = if safety == Safety::Never { None } else { request.repeat() };
        let again = Again::new(copy, safety, self.second.clone());
        FailoverFuture::first(self.first.call(request), Arc::clone(&self.rules), again)
    }
}
