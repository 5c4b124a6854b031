use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use http_body::{Body, Frame};
use serde::Deserialize;

use crate::{
    endpoint::EndpointId,
    escape::Escaped,
    lambda::{InvocationStatus, InvokeError, Qualifier},
    outcome::{Attempt, Outcome},
};

/// The response to an invocation that the service accepted.
///
/// A failure of the function is not an error of the service: see
/// [`function_error`](Self::function_error).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invoked {
    pub(in crate::lambda) payload: Bytes,
    pub(in crate::lambda) status: u16,
    pub(in crate::lambda) function_error: Option<FunctionErrorKind>,
    pub(in crate::lambda) executed_version: Option<Qualifier>,
    pub(in crate::lambda) request_id: Option<Box<str>>,
    pub(in crate::lambda) log_tail: Option<Box<str>>,
    pub(in crate::lambda) endpoint_id: Option<EndpointId>,
}

/// Where a function's error was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionErrorKind {
    /// In the function's own code, which returned the error.
    Handled,
    /// Nowhere: an exception, a crash, a timeout, or out of memory.
    Unhandled,
}

impl Invoked {
    /// Creates a response, for transports. `status` is 200, or 202 for events and 204 for dry runs.
    pub fn new(status: u16, payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), status, ..Self::default() }
    }

    /// Marks the function as failed.
    #[must_use]
    pub fn with_function_error(mut self, kind: FunctionErrorKind) -> Self {
        self.function_error = Some(kind);
        self
    }

    /// Sets the version that ran.
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

    /// Sets the end of the function's log.
    #[must_use]
    pub fn with_log_tail(mut self, text: impl Into<Box<str>>) -> Self {
        self.log_tail = Some(text.into());
        self
    }

    /// Returns the function's response, or its error if it failed. Empty for events and dry runs.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the payload without a copy.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Returns the HTTP status of the service: 200, 202 or 204.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the function's error, or `None` if it did not fail.
    #[must_use]
    pub fn function_error(&self) -> Option<FunctionError> {
        let kind = self.function_error?;
        Some(FunctionError::new(kind, &self.payload))
    }

    /// Returns true if the function failed.
    #[must_use]
    pub fn is_function_error(&self) -> bool {
        self.function_error.is_some()
    }

    /// Returns the version that ran, also if an alias was invoked.
    #[must_use]
    pub fn executed_version(&self) -> Option<&Qualifier> {
        self.executed_version.as_ref()
    }

    /// Returns the request id, which the service's logs contain.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the balancer's endpoint of a function that failed. `None` if the function did not
    /// fail, or if the balancer does not track by [`UntilResponse`](crate::lambda::UntilResponse).
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&EndpointId> {
        self.endpoint_id.as_ref()
    }

    /// Returns the last 4 KB of the function's log, if they were requested.
    #[must_use]
    pub fn log_tail(&self) -> Option<&str> {
        self.log_tail.as_deref()
    }
}

/// A function's error, as its payload describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    kind: FunctionErrorKind,
    details: ErrorDetails,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
struct ErrorDetails {
    error_type: Option<Box<str>>,
    error_message: Option<Box<str>>,
}

impl FunctionError {
    pub(crate) fn new(kind: FunctionErrorKind, payload: &[u8]) -> Self {
        Self { kind, details: serde_json::from_slice(payload).unwrap_or_default() }
    }

    /// Sets the error's type unless the payload has one.
    #[cfg(feature = "aws")]
    pub(crate) fn or_type(mut self, error_type: impl Into<Box<str>>) -> Self {
        self.details.error_type.get_or_insert_with(|| error_type.into());
        self
    }

    /// Returns where the error was caught.
    #[must_use]
    pub fn kind(&self) -> FunctionErrorKind {
        self.kind
    }

    /// Returns the error's type, in the function's language.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        self.details.error_type.as_deref()
    }

    /// Returns the error's message.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.details.error_message.as_deref()
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function failed")?;
        let details = &self.details;
        for detail in [&details.error_type, &details.error_message].into_iter().flatten() {
            write!(f, ": {}", Escaped(detail))?;
        }
        Ok(())
    }
}

impl std::error::Error for FunctionError {}

/// The beginning of a streamed response, and its body.
#[derive(Debug)]
pub struct InvokedStream {
    pub(in crate::lambda) executed_version: Option<Qualifier>,
    pub(in crate::lambda) request_id: Option<Box<str>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_error_shows_the_type_and_message_of_its_payload() {
        let failed = |payload: &'static str| {
            let invoked = Invoked::new(200, payload);
            let invoked = invoked.with_function_error(FunctionErrorKind::Unhandled);
            invoked.function_error().unwrap().to_string()
        };
        let shown = failed(r#"{"errorType":"Oops","errorMessage":"no luck","stackTrace":[]}"#);
        assert_eq!(shown, "the function failed: Oops: no luck");
        for no_details in ["", "null", "[]", r#"{"errorType":7}"#, "no JSON"] {
            assert_eq!(failed(no_details), "the function failed");
        }
        assert_eq!(Invoked::new(200, "{}").function_error(), None);
    }
}
