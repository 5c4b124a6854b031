use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{When, layer::Rules, switch::Switch};
use crate::{
    BoxError, Error,
    error::chain,
    limit::Rejected,
    retry::{Judge, Repeat, Safety, Verdict},
};

pin_project! {
    /// The response of a [`Failover`](super::Failover).
    pub struct FailoverFuture<A, B, J, Req>
    where
        A: Service<Req>,
        B: Service<Req>,
    {
        #[pin]
        state: State<A::Future, B::Future>,
        // While the first has the request.
        again: Option<(Arc<Rules<J>>, Arc<Switch>, Again<B, Req, A::Response>)>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<A, B> {
        First { #[pin] response: A },
        // For the second service to be ready.
        Readying,
        Second { #[pin] response: B },
    }
}

/// What it takes to go over to the second service.
pub(super) struct Again<B, Req, Rsp> {
    copy: Option<Req>,
    safety: Safety,
    second: B,
    /// The answer if the second service is gone.
    last: Option<Result<Rsp, BoxError>>,
}

impl<B, Req, Rsp> Again<B, Req, Rsp> {
    pub(super) fn new(copy: Option<Req>, safety: Safety, second: B) -> Self {
        Self { copy, safety, second, last: None }
    }
}

impl<A, B, J, Req> FailoverFuture<A, B, J, Req>
where
    A: Service<Req>,
    B: Service<Req>,
{
    pub(super) fn first(
        response: A::Future,
        rules: Arc<Rules<J>>,
        switch: Arc<Switch>,
        again: Again<B, Req, A::Response>,
    ) -> Self {
        Self { state: State::First { response }, again: Some((rules, switch, again)) }
    }

    pub(super) fn second(response: B::Future) -> Self {
        Self { state: State::Second { response }, again: None }
    }
}

impl<J> Rules<J> {
    /// Whether a request goes over that ended so at the first service.
    fn goes_over<Rsp>(
        &self,
        switch: &Switch,
        result: &Result<Rsp, BoxError>,
        safety: Safety,
    ) -> bool
    where
        J: Judge<Rsp>,
    {
        let unserved = result.as_ref().err().and_then(|error| Unserved::of(&**error));
        let verdict = match result {
            Ok(response) => self.judge.judge(Ok(response)),
            Err(error) => self.judge.judge(Err(&**error)),
        };
        if unserved.is_none() && verdict == Verdict::Final {
            switch.succeeded();
            return false;
        }
        switch.failed();
        match self.when {
            When::Overloaded => matches!(unserved, Some(Unserved::Overloaded)),
            When::Failed => {
                unserved.is_some()
                    || matches!(verdict, Verdict::Unsent | Verdict::Refused(_))
                    || safety == Safety::Idempotent
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
    J: Judge<A::Response>,
    Req: Repeat,
{
    type Output = Result<A::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::First { response } => {
                    let result = ready!(response.poll(cx)).map_err(Into::into);
                    let Some((rules, switch, again)) = this.again else {
                        return Poll::Ready(result);
                    };
                    if !rules.goes_over(switch, &result, again.safety) {
                        return Poll::Ready(result);
                    }
                    // A copy of the copy, because a body that was used up can't be repeated.
                    again.copy = again.copy.as_ref().and_then(Repeat::repeat);
                    if again.copy.is_none() {
                        return Poll::Ready(result);
                    }
                    again.last = Some(result);
                    this.state.set(State::Readying);
                }
                StateProjection::Readying => {
                    let Some((.., again)) = this.again else { return Poll::Pending };
                    let ready = ready!(again.second.poll_ready(cx));
                    match (again.copy.take().filter(|_| ready.is_ok()), again.last.take()) {
                        (Some(copy), last) => {
                            // What the first answer holds is let go.
                            drop(last);
                            if let Some(attempts) = copy.attempts() {
                                attempts.begin_next();
                            }
                            let response = again.second.call(copy);
                            this.state.set(State::Second { response });
                        }
                        (None, Some(last)) => return Poll::Ready(last),
                        (None, None) => return Poll::Pending,
                    }
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
            State::Readying => "waiting for the second service to be ready",
            State::Second { .. } => "at the second service",
        };
        f.debug_struct("FailoverFuture").field("state", &state).finish_non_exhaustive()
    }
}
