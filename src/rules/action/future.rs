use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, header::SET_COOKIE};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::forward::Cookies;
use crate::{
    future::polled_after_completion,
    http::{GatewayBody, own_response},
    rules::dispatch::Dispatch,
};

pin_project! {
    /// The response future of an [`Action`](super::Action).
    ///
    /// # Panics
    ///
    /// Panics if it is polled after it has completed.
    pub struct ActionFuture<S, Req>
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
        // Taken when the future completes.
        Answered { response: Option<Response<Bytes>> },
        Forwarded { #[pin] dispatch: D, cookies: Cookies },
    }
}

impl<S: Service<Req>, Req> ActionFuture<S, Req> {
    pub(super) fn answered(response: Response<Bytes>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }

    #[inline]
    pub(super) fn forwarded(dispatch: Dispatch<S, Req>, cookies: Cookies) -> Self {
        Self { state: State::Forwarded { dispatch, cookies } }
    }
}

impl<S, Req, R> Future for ActionFuture<S, Req>
where
    S: Service<Req, Response = Response<R>>,
{
    type Output = Result<Response<GatewayBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Answered { response } => {
                let response = response.take();
                let response = response.unwrap_or_else(|| polled_after_completion("ActionFuture"));
                Poll::Ready(Ok(own_response(response)))
            }
            StateProjection::Forwarded { dispatch, cookies } => {
                let mut response = ready!(dispatch.poll(cx))?.map(GatewayBody::endpoint);
                if !response.status().is_server_error() {
                    for cookie in cookies.iter_mut().filter_map(Option::take) {
                        // It fails only if the response has the maximum number of fields; then
                        // there is no session.
                        let _ = response.headers_mut().try_append(SET_COOKIE, cookie);
                    }
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for ActionFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.state {
            State::Answered { .. } => "answered",
            State::Forwarded { dispatch, .. } => dispatch.phase(),
        };
        f.debug_struct("ActionFuture").field("state", &phase).finish_non_exhaustive()
    }
}
