use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use http_body::{Body, Frame};

use crate::{
    lambda::{InvocationStatus, InvokeError, Qualifier},
    outcome::{Attempt, Outcome},
};

/// The beginning of a streamed answer, and the body that is to come.
#[derive(Debug)]
pub struct InvokedStream {
    executed_version: Option<Qualifier>,
    request_id: Option<Box<str>>,
    body: InvokedBody,
}

impl InvokedStream {
    /// An answer as transports make it: its pieces, or an error in the middle.
    pub fn new(pieces: impl Stream<Item = Result<Bytes, InvokeError>> + Send + 'static) -> Self {
        let body = InvokedBody { pieces: Some(Box::pin(pieces)), attempt: None };
        Self { executed_version: None, request_id: None, body }
    }

    /// Says which version runs.
    #[must_use]
    pub fn with_executed_version(mut self, version: Qualifier) -> Self {
        self.executed_version = Some(version);
        self
    }

    /// Sets the id by which the service's logs know the invocation.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The version that runs, also where an alias was invoked.
    #[must_use]
    pub fn executed_version(&self) -> Option<&Qualifier> {
        self.executed_version.as_ref()
    }

    /// The id by which the service's logs know the invocation.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What the function writes.
    #[must_use]
    pub fn into_body(self) -> InvokedBody {
        self.body
    }

    pub(crate) fn in_attempt(mut self, attempt: Attempt) -> Self {
        self.body.attempt = Some(attempt);
        self
    }
}

/// The body of a streamed answer.
///
/// A function may fail after it has written: then the last frame is an error,
/// [`InvokeError::FunctionFailed`] or that of a broken connection. There is nothing to fail over to
/// any more. Dropped before its end, it counts as cancelled.
pub struct InvokedBody {
    /// Empty once it has ended.
    pieces: Option<BoxStream<'static, Result<Bytes, InvokeError>>>,
    attempt: Option<Attempt>,
}

impl InvokedBody {
    fn end(&mut self, outcome: Outcome) {
        self.pieces = None;
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(outcome);
        }
    }
}

impl Body for InvokedBody {
    type Data = Bytes;
    type Error = InvokeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvokeError>>> {
        let Some(pieces) = &mut self.pieces else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(pieces.as_mut().poll_next(cx)) {
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => {
                self.end(InvocationStatus::of_error(&error));
                Some(Err(error))
            }
            None => {
                self.end(Outcome::Success);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }
}

impl fmt::Debug for InvokedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("ended", &self.pieces.is_none()).finish_non_exhaustive()
    }
}
