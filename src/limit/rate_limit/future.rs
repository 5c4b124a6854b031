use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::Rejected;
use crate::{BoxError, future::polled_after_completion};

const NAME: &str = "RateLimitFuture";

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit).
    pub struct RateLimitFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, Req, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, Req, F> {
        Calling { #[pin] response: F },
        Waiting { #[pin] wait: Sleep, waiting: Option<(S, Req)> },
        Rejected { rejected: Option<Rejected> },
    }
}

impl<S: Service<Req>, Req> RateLimitFuture<S, Req> {
    pub(super) fn calling(response: S::Future) -> Self {
        Self { state: State::Calling { response } }
    }

    pub(super) fn waiting(wait: Duration, service: S, request: Req) -> Self {
        Self { state: State::Waiting { wait: sleep(wait), waiting: Some((service, request)) } }
    }

    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self { state: State::Rejected { rejected: Some(rejected) } }
    }
}

impl<S, Req> Future for RateLimitFuture<S, Req>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
                StateProjection::Waiting { wait, waiting } => {
                    ready!(wait.poll(cx));
                    let waiting = waiting.take();
                    let (mut service, request) =
                        waiting.unwrap_or_else(|| polled_after_completion(NAME));
                    let response = service.call(request);
                    this.state.set(State::Calling { response });
                }
                StateProjection::Rejected { rejected } => {
                    let rejected = rejected.take();
                    let rejected = rejected.unwrap_or_else(|| polled_after_completion(NAME));
                    return Poll::Ready(Err(rejected.into()));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for RateLimitFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "waiting for the response",
            State::Waiting { .. } => "waiting for the rate limit",
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct(NAME).field("state", &state).finish_non_exhaustive()
    }
}
