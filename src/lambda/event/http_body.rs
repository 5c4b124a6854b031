use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::lambda::{InvokeError, InvokedBody};

/// The response body of [`HttpFunction`](crate::lambda::HttpFunction): the function's body, whole
/// or streamed, or a line that describes the error.
#[derive(Debug, Default)]
pub struct HttpBody {
    first: Bytes,
    rest: Option<InvokedBody>,
}

impl HttpBody {
    pub(super) fn streamed(first: Bytes, rest: InvokedBody) -> Self {
        Self { first, rest: Some(rest) }
    }
}

impl From<Bytes> for HttpBody {
    fn from(whole: Bytes) -> Self {
        Self { first: whole, rest: None }
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = InvokeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvokeError>>> {
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.first.len() as u64),
        }
    }
}
