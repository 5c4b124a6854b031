use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::future::polled_after_completion;

pin_project! {
    /// Calls a service as soon as it is ready.
    ///
    /// Most services are ready at once. The future of such a call is that of the service. Otherwise
    /// service and request move into a box.
    pub(super) struct Dispatch<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<Box<Waiting<S, Req>>, S::Future, S::Error>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<W, F, E> {
        // Both are taken when the future completes.
        Waiting { waiting: Option<W> },
        Failed { error: Option<E> },
        Responding { #[pin] response: F },
    }
}

struct Waiting<S, Req> {
    service: S,
    request: Req,
}

const NAME: &str = "RulesFuture";

impl<S: Service<Req>, Req> Dispatch<S, Req> {
    #[inline]
    pub(super) fn new(mut service: S, request: Req) -> Self {
        // A service that is not ready is polled again, with the waker of the task.
        let state = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => State::Responding { response: service.call(request) },
            Poll::Ready(Err(error)) => State::Failed { error: Some(error) },
            Poll::Pending => {
                State::Waiting { waiting: Some(Box::new(Waiting { service, request })) }
            }
        };
        Self { state }
    }

    /// Returns what the future is doing, for `Debug`.
    pub(super) fn phase(&self) -> &'static str {
        match &self.state {
            State::Waiting { .. } => "waiting for the service",
            State::Failed { .. } => "failed",
            State::Responding { .. } => "waiting for the response",
        }
    }
}

impl<S: Service<Req>, Req> Future for Dispatch<S, Req> {
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Responding { response } => return response.poll(cx),
                StateProjection::Failed { error } => {
                    let error = error.take().unwrap_or_else(|| polled_after_completion(NAME));
                    return Poll::Ready(Err(error));
                }
                StateProjection::Waiting { waiting } => {
                    let service = waiting.as_mut().map(|waiting| &mut waiting.service);
                    let service = service.unwrap_or_else(|| polled_after_completion(NAME));
                    let readiness = ready!(service.poll_ready(cx));
                    let waiting = waiting.take().unwrap_or_else(|| polled_after_completion(NAME));
                    let Waiting { mut service, request } = *waiting;
                    match readiness {
                        Ok(()) => State::Responding { response: service.call(request) },
                        Err(error) => State::Failed { error: Some(error) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}
