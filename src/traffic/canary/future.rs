use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::BoxError;

pin_project! {
    /// The response of a [`Canary`](super::Canary).
    #[derive(Debug)]
    pub struct CanaryFuture<A, B> {
        #[pin]
        state: State<A, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<A, B> {
        Stable { #[pin] response: A },
        Canary { #[pin] response: B },
    }
}

impl<A, B> CanaryFuture<A, B> {
    pub(super) fn stable(response: A) -> Self {
        Self { state: State::Stable { response } }
    }

    pub(super) fn canary(response: B) -> Self {
        Self { state: State::Canary { response } }
    }
}

impl<A, B, Rsp, E, F> Future for CanaryFuture<A, B>
where
    A: Future<Output = Result<Rsp, E>>,
    B: Future<Output = Result<Rsp, F>>,
    E: Into<BoxError>,
    F: Into<BoxError>,
{
    type Output = Result<Rsp, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Stable { response } => response.poll(cx).map_err(Into::into),
            StateProjection::Canary { response } => response.poll(cx).map_err(Into::into),
        }
    }
}
