use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Bound, Elapsed};
use crate::BoxError;

pin_project! {
    /// A response with a time limit.
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        response: F,
        // From when the response is waited for: what is ready at once needs no timer.
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Instant>,
        bound: Bound,
        limit: Duration,
    }
}

impl<F> TimeoutFuture<F> {
    /// The time runs from the first poll if there is no deadline.
    pub(super) fn new(
        response: F,
        bound: Bound,
        limit: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        Self { response, timer: None, deadline, bound, limit }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.response.poll(cx) {
            return Poll::Ready(result.map_err(Into::into));
        }
        if this.timer.is_none() {
            let limit = *this.limit;
            let deadline = this.deadline.or_else(|| Instant::now().checked_add(limit));
            let Some(deadline) = deadline else { return Poll::Pending };
            this.timer.set(Some(sleep_until(deadline)));
        }
        let Some(timer) = this.timer.as_pin_mut() else { return Poll::Pending };
        ready!(timer.poll(cx));
        Poll::Ready(Err(Elapsed::new(*this.bound, *this.limit).into()))
    }
}
