use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::http_client::BoxFuture;
use crate::{
    future::polled_after_completion,
    http::{GatewayBody, own_response},
};

/// What becomes of a request.
pub(super) enum Decision {
    /// The inner service gets it.
    Forward(Grant),
    /// It is answered here.
    Answer(Response<Bytes>),
}

/// What is added to a request that the inner service gets, and to the response.
#[derive(Default)]
pub(super) struct Grant {
    pub(super) fields: HeaderMap,
    pub(super) extensions: Extensions,
    /// Values of `Set-Cookie`.
    pub(super) cookies: Vec<HeaderValue>,
}

pin_project! {
    /// The response future of `Jwt` and `Oidc`.
    ///
    /// # Panics
    ///
    /// Panics if it is polled after it has completed.
    pub struct AuthFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        // The decision takes time. Boxed, because it is rare.
        Deciding { decision: BoxFuture<Decision>, held: Option<(S, Request<B>)> },
        Forwarded { #[pin] response: F, cookies: Vec<HeaderValue> },
        Answered { answer: Option<Response<Bytes>> },
    }
}

impl<S: Service<Request<B>> + Clone, B> AuthFuture<S, B> {
    /// Acts on `decision`, or holds the request until it is made. `inner` must be ready.
    pub(super) fn new(
        inner: &mut S,
        request: Request<B>,
        decision: Result<Decision, BoxFuture<Decision>>,
    ) -> Self {
        let state = match decision {
            Ok(decision) => State::decided(inner, request, decision),
            Err(decision) => {
                // The request keeps the service that is ready; the clone is not ready yet.
                let clone = inner.clone();
                let ready = mem::replace(inner, clone);
                State::Deciding { decision, held: Some((ready, request)) }
            }
        };
        Self { state }
    }
}

impl<S: Service<Request<B>>, B> State<S, B, S::Future> {
    fn decided(inner: &mut S, mut request: Request<B>, decision: Decision) -> Self {
        match decision {
            Decision::Forward(grant) => {
                let Grant { fields, extensions, cookies } = grant;
                request.headers_mut().extend(fields);
                request.extensions_mut().extend(extensions);
                Self::Forwarded { response: inner.call(request), cookies }
            }
            Decision::Answer(answer) => Self::Answered { answer: Some(answer) },
        }
    }
}

impl<S, B, R> Future for AuthFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<GatewayBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProjection::Deciding { decision, held } => {
                    let decision = ready!(decision.as_mut().poll(cx));
                    let Some((mut inner, request)) = held.take() else {
                        polled_after_completion("AuthFuture")
                    };
                    let next = State::decided(&mut inner, request, decision);
                    state.set(next);
                }
                StateProjection::Forwarded { response, cookies } => {
                    let mut response = ready!(response.poll(cx))?.map(GatewayBody::endpoint);
                    for cookie in cookies.drain(..) {
                        response.headers_mut().append(header::SET_COOKIE, cookie);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Answered { answer } => {
                    let Some(answer) = answer.take() else { polled_after_completion("AuthFuture") };
                    return Poll::Ready(Ok(own_response(answer)));
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for AuthFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFuture").finish_non_exhaustive()
    }
}
