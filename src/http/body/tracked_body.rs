use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use pin_project_lite::pin_project;

use super::{PollFrame, until_body_end::report};
use crate::{
    BoxError,
    http::ClassifyHttp,
    outcome::{Attempt, Outcome},
};

pin_project! {
    /// The body of a balanced response. The attempt lasts until the body ends, fails or is dropped.
    ///
    /// Frames and trailers pass through unchanged. A body that is dropped before its end counts as
    /// [`Cancelled`](Outcome::Cancelled). If the head says that the endpoint failed, the attempt
    /// ends at once. If the connection switches protocols, as to WebSocket, the attempt lasts until
    /// the body is dropped, and is then a success.
    pub struct TrackedBody<B, C> {
        #[pin]
        body: B,
        tracked: Tracked<C>,
    }
}

/// The attempt that the body belongs to. Dropping this ends the attempt.
struct Tracked<C> {
    attempt: Option<Attempt>,
    classify: C,
    head: Option<Outcome>,
    if_dropped: Outcome,
}

impl<B: Body, C: ClassifyHttp> TrackedBody<B, C> {
    pub(super) fn new(body: B, attempt: Attempt, classify: C, head: Option<Outcome>) -> Self {
        let is_failure = head.as_ref().is_some_and(Outcome::is_failure);
        let if_dropped = Outcome::Cancelled;
        let mut tracked = Tracked { attempt: Some(attempt), classify, head, if_dropped };
        // A failure is known from the head. Recording it only at the end of the body would delay it
        // until the caller reads the body, and callers often drop the body of a failed response.
        if body.is_end_stream() || is_failure {
            tracked.end(None);
        }
        Self { body, tracked }
    }

    /// Returns the empty body of a response that switches protocols.
    pub(super) fn of_tunnel(body: B, attempt: Attempt, classify: C) -> Self {
        let (head, if_dropped) = (Some(Outcome::Success), Outcome::Success);
        Self { body, tracked: Tracked { attempt: Some(attempt), classify, head, if_dropped } }
    }

    /// Returns the inner body. This ends the attempt, as dropping the tracked body does.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<C: ClassifyHttp> Tracked<C> {
    fn end(&mut self, trailers: Option<&http::HeaderMap>) {
        if let Some(attempt) = self.attempt.take() {
            if let Some(trailers) = trailers {
                report(trailers, &attempt);
            }
            attempt.finish(self.classify.end(self.head.clone(), trailers));
        }
    }
}

impl<B: Body<Error: Into<BoxError>>, C: ClassifyHttp> Body for TrackedBody<B, C> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data> {
        let mut this = self.project();
        let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
            None => {
                this.tracked.end(None);
                None
            }
            Some(Err(error)) => {
                let error = error.into();
                if let Some(attempt) = this.tracked.attempt.take() {
                    attempt.finish(this.tracked.classify.error(&*error));
                }
                Some(Err(error))
            }
            Some(Ok(frame)) => {
                // A reader may stop polling after trailers or after the last data frame.
                if frame.is_trailers() || this.body.is_end_stream() {
                    this.tracked.end(frame.trailers_ref());
                }
                Some(Ok(frame))
            }
        };
        Poll::Ready(frame)
    }

    size_of_inner!(body);
}

impl<C> Drop for Tracked<C> {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(self.if_dropped.clone());
        }
    }
}

impl<B: Default, C: Default> Default for TrackedBody<B, C> {
    /// Returns a body that belongs to no attempt.
    fn default() -> Self {
        let if_dropped = Outcome::Cancelled;
        let tracked = Tracked { attempt: None, classify: C::default(), head: None, if_dropped };
        Self { body: B::default(), tracked }
    }
}

impl<B: fmt::Debug, C> fmt::Debug for TrackedBody<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedBody").field("body", &self.body).finish_non_exhaustive()
    }
}
