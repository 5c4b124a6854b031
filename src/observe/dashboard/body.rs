use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::feed::EventStream;

/// The body of a response of a [`Dashboard`](super::Dashboard).
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    Events(EventStream),
}

impl Body {
    pub(super) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    pub(super) fn full(content: impl Into<Bytes>) -> Self {
        Self(Kind::Full(content.into()))
    }

    pub(super) fn events(stream: EventStream) -> Self {
        Self(Kind::Events(stream))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Full(content) if content.is_empty() => Poll::Ready(None),
            Kind::Full(content) => Poll::Ready(Some(Ok(Frame::data(mem::take(content))))),
            Kind::Events(stream) => {
                stream.poll_next(cx).map(|next| next.map(|d| Ok(Frame::data(d))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(content) if content.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(content) => SizeHint::with_exact(content.len() as u64),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Full(_) => "Body::Full(..)",
            Kind::Events(_) => "Body::Events(..)",
        })
    }
}
