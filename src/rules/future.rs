use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::dispatch::Dispatch;
use crate::{BoxError, future::polled_after_completion};

pin_project! {
    /// The response future of [`Rules`](super::Rules).
    ///
    /// Dropping it cancels the request.
    ///
    /// # Panics
    ///
    /// Panics if it is polled after it has completed.
    pub struct RulesFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<Dispatch<S, Req>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<D> {
        Dispatched { #[pin] dispatch: D },
        // Taken when the future completes.
        Failed { error: Option<BoxError> },
    }
}

impl<S: Service<Req>, Req> RulesFuture<S, Req> {
    #[inline]
    pub(super) fn dispatched(dispatch: Dispatch<S, Req>) -> Self {
        Self { state: State::Dispatched { dispatch } }
    }

    pub(super) fn failed(error: BoxError) -> Self {
        Self { state: State::Failed { error: Some(error) } }
    }
}

impl<S, Req> Future for RulesFuture<S, Req>
where
    S: Service<Req, Error: Into<BoxError>>,
{
    type Output = Result<S::Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Dispatched { dispatch } => dispatch.poll(cx).map_err(Into::into),
            StateProjection::Failed { error } => {
                let error = error.take().unwrap_or_else(|| polled_after_completion("RulesFuture"));
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for RulesFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.state {
            State::Dispatched { dispatch } => dispatch.phase(),
            State::Failed { .. } => "failed",
        };
        f.debug_struct("RulesFuture").field("state", &phase).finish_non_exhaustive()
    }
}
