use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::tracker::ResponseClass;
use crate::{
    BoxError,
    http::{ClientBody, IdleBody, TrackedBody},
    lambda::HttpBody,
};

pin_project! {
    /// The response body of a [`TargetGroup`](super::TargetGroup). The request counts as in flight
    /// at its target until the body ends or is dropped.
    pub struct TargetBody {
        #[pin]
        body: TrackedBody<EndpointBody, ResponseClass>,
    }
}

impl TargetBody {
    pub(super) fn new(body: TrackedBody<EndpointBody, ResponseClass>) -> Self {
        Self { body }
    }
}

impl Body for TargetBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Default for TargetBody {
    /// Returns an empty body, which belongs to no target.
    fn default() -> Self {
        Self::new(TrackedBody::default())
    }
}

impl fmt::Debug for TargetBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetBody").finish_non_exhaustive()
    }
}

pin_project! {
    /// The response body of a target.
    #[project = EndpointBodyProjection]
    #[derive(Debug, Default)]
    pub(super) enum EndpointBody {
        Http { #[pin] body: IdleBody<ClientBody> },
        Function { #[pin] body: IdleBody<HttpBody> },
        #[default]
        Empty,
    }
}

impl EndpointBody {
    pub(super) fn http(body: IdleBody<ClientBody>) -> Self {
        Self::Http { body }
    }

    pub(super) fn function(body: IdleBody<HttpBody>) -> Self {
        Self::Function { body }
    }
}

impl Body for EndpointBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            EndpointBodyProjection::Http { body } => body.poll_frame(cx),
            EndpointBodyProjection::Function { body } => body.poll_frame(cx),
            EndpointBodyProjection::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http { body } => body.is_end_stream(),
            Self::Function { body } => body.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http { body } => body.size_hint(),
            Self::Function { body } => body.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}
