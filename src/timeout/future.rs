use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Bound, Elapsed};
use crate::{BoxError, future::LazySleep};

pin_project! {
    /// The response of a [`Timeout`](super::Timeout).
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        response: F,
        // Starts when the response is first pending: a response that is ready at once needs no
        // timer.
        #[pin]
        timer: LazySleep,
        deadline: Option<Instant>,
        bound: Bound,
        limit: Duration,
    }
}

impl<F> TimeoutFuture<F> {
    /// Ends at `deadline`, or, without one, `limit` after the first poll.
    pub(super) fn new(
        response: F,
        bound: Bound,
        limit: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        Self { response, timer: LazySleep::default(), deadline, bound, limit }
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
        let this = self.project();
        // The response comes first: one that is ready at the deadline is still returned.
        if let Poll::Ready(result) = this.response.poll(cx) {
            return Poll::Ready(result.map_err(Into::into));
        }
        let (deadline, limit) = (*this.deadline, *this.limit);
        ready!(this.timer.poll(cx, || deadline.map_or_else(|| sleep(limit), sleep_until)));
        Poll::Ready(Err(Elapsed::new(*this.bound, *this.limit).into()))
    }
}
