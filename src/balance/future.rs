use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::acquire::{Acquire, endpoint_failed};
use crate::{
    BoxError, Error,
    outcome::{Attempt, Track},
    strategy::{Pick, Strategy},
};

pin_project! {
    /// The future of a [`Balancer`](super::Balancer)'s response, as its tracker returns it.
    ///
    /// Dropping it cancels the request: the attempt is counted as cancelled, and a queued request
    /// leaves the queue.
    ///
    /// # Panics
    ///
    /// Panics if it is polled after it has completed.
    pub struct ResponseFuture<S, St, T, Req>
    where
        S: Service<Req>,
        St: Strategy,
    {
        #[pin]
        state: State<S, St::Picker, Req, S::Future>,
        // The attempt that is responding. Beside the state, from which it would be moved three
        // times.
        attempt: Option<Attempt>,
        tracker: T,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, P, Req, F> {
        /// No endpoint was ready for the request in `call`.
        Acquiring { acquire: Boxed<Acquire<S, P, Req>> },
        Responding { #[pin] response: F },
        Done,
    }
}

/// A box whose drop is a call, so that the drop of a future is small enough to be inlined.
struct Boxed<A>(Option<Box<A>>);

impl<A> Drop for Boxed<A> {
    #[inline]
    fn drop(&mut self) {
        if let Some(boxed) = self.0.take() {
            drop_boxed(boxed);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_boxed<A>(boxed: Box<A>) {
    drop(boxed);
}

#[cold]
pub(super) fn polled_after_completion() -> ! {
    crate::future::polled_after_completion("ResponseFuture")
}

impl<S: Service<Req>, St: Strategy, T, Req> ResponseFuture<S, St, T, Req> {
    #[inline(always)]
    pub(super) fn responding(response: S::Future, attempt: Attempt, tracker: T) -> Self {
        Self { state: State::Responding { response }, attempt: Some(attempt), tracker }
    }

    #[inline(always)]
    pub(super) fn acquiring(acquire: Box<Acquire<S, St::Picker, Req>>, tracker: T) -> Self {
        let acquire = Boxed(Some(acquire));
        Self { state: State::Acquiring { acquire }, attempt: None, tracker }
    }
}

impl<S, St, T, Req> Future for ResponseFuture<S, St, T, Req>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    St: Strategy<Picker: Pick<Req>>,
    T: Track<S::Response>,
{
    type Output = Result<T::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Responding { response } => {
                    let result = ready!(response.poll(cx));
                    // The response's future may hold what the next request waits for.
                    this.state.set(State::Done);
                    let Some(attempt) = this.attempt.take() else { polled_after_completion() };
                    return Poll::Ready(match result {
                        Ok(response) => Ok(this.tracker.response(response, attempt)),
                        Err(error) => Err(endpoint_failed(error, attempt, this.tracker)),
                    });
                }
                StateProjection::Acquiring { acquire } => {
                    let Some(acquire) = &mut acquire.0 else { polled_after_completion() };
                    match ready!(acquire.poll(cx, this.tracker)) {
                        Ok((response, attempt)) => {
                            *this.attempt = Some(attempt);
                            this.state.set(State::Responding { response });
                        }
                        Err(error) => {
                            this.state.set(State::Done);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                StateProjection::Done => polled_after_completion(),
            }
        }
    }
}

impl<S: Service<Req>, St: Strategy, T, Req> fmt::Debug for ResponseFuture<S, St, T, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Acquiring { .. } => "acquiring an endpoint",
            State::Responding { .. } => "waiting for the response",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
