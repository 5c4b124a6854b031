use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{body::Body, respond, service::Shared};
use crate::{
    BoxError,
    body_reader::{BodyReader, ReadError},
    escape::Escaped,
};

/// Two names of 10 KB, each byte escaped as `\u0000`, fit in.
const MAX_BODY: usize = 128 * 1024;
const MAX_BODY_TIME: Duration = Duration::from_secs(10);

pin_project! {
    /// The future of a [`Dashboard`](super::Dashboard). It is ready at once, unless the request is
    /// for an action and its body has yet to arrive.
    pub struct ResponseFuture<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Ready { response: Option<Response<Body>> },
        Reading {
            shared: Arc<Shared>,
            #[pin]
            body: B,
            reader: BodyReader,
            #[pin]
            timer: Sleep,
        },
    }
}

impl<B> ResponseFuture<B> {
    pub(super) fn ready(response: Response<Body>) -> Self {
        Self { state: State::Ready { response: Some(response) } }
    }

    pub(super) fn reading(shared: Arc<Shared>, body: B) -> Self {
        let (reader, timer) = (BodyReader::default(), sleep(MAX_BODY_TIME));
        Self { state: State::Reading { shared, body, reader, timer } }
    }
}

impl<B> Future for ResponseFuture<B>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let response = match state.as_mut().project() {
            // A response was taken before: the future was polled after it was ready.
            StateProj::Ready { response } => {
                response.take().unwrap_or_else(|| respond::empty(StatusCode::INTERNAL_SERVER_ERROR))
            }
            StateProj::Reading { shared, body, reader, timer } => {
                match reader.poll(body, MAX_BODY, cx) {
                    Poll::Ready(Ok(body)) => shared.act(&body),
                    Poll::Ready(Err(ReadError::TooLarge)) => {
                        respond::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
                    }
                    Poll::Ready(Err(ReadError::Body(error))) => {
                        let message = format!("the body did not arrive: {}", Escaped(error));
                        respond::error(StatusCode::BAD_REQUEST, &message)
                    }
                    Poll::Pending => {
                        ready!(timer.poll(cx));
                        let status = StatusCode::REQUEST_TIMEOUT;
                        respond::error(status, "the body did not arrive in time")
                    }
                }
            }
        };
        state.set(State::Ready { response: None });
        Poll::Ready(Ok(response))
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
