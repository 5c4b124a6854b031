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

/// The beginning of a streamed response, and its body.
#[derive(Debug)]
pub struct InvokedStream {
    executed_version: Option<Qualifier>,
    request_id: Option<Box<str>>,
    body: InvokedBody,
}

impl InvokedStream {
    /// Creates a streamed response, for transports. An error ends `pieces`.
    pub fn new(pieces: impl Stream<Item = Result<Bytes, InvokeError>> + Send + 'static) -> Self {
        let body = InvokedBody { pieces: Some(Box::pin(pieces)), attempt: None };
        Self { executed_version: None, request_id: None, body }
    }

    /// Sets the version that runs.
    #[must_use]
    pub fn with_executed_version(mut self, version: Qualifier) -> Self {
        self.executed_version = Some(version);
        self
    }

    /// Sets the request id, which the service's logs contain.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Returns the version that runs, also if an alias was invoked.
    #[must_use]
    pub fn executed_version(&self) -> Option<&Qualifier> {
        self.executed_version.as_ref()
    }

    /// Returns the request id, which the service's logs contain.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the body, which the function writes.
    #[must_use]
    pub fn into_body(self) -> InvokedBody {
        self.body
    }

    pub(crate) fn in_attempt(mut self, attempt: Attempt) -> Self {
        self.body.attempt = Some(attempt);
        self
    }
}

/// The body of a streamed response.
///
/// A function may fail after it has started to write. The last frame is then an error:
/// [`InvokeError::FunctionFailed`], or that of an interrupted connection. The response can't be
/// failed over any more. A body that is dropped before its end counts as cancelled.
pub struct InvokedBody {
    /// `None` after the end.
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
        f.debug_struct("InvokedBody").field("ended", &self.pieces.is_none()).finish_non_exhaustive()
    }
}
