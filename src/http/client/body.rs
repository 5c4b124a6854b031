use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::http2::StreamGuard;
use crate::{BoxError, http::body::PollFrame};

/// The response body of a [`Client`](crate::http::Client).
///
/// It counts as a stream of its HTTP/2 connection until it ends or is dropped. After a switch of
/// protocols, keep it as long as the tunnel.
#[derive(Debug)]
pub struct ClientBody {
    inner: Incoming,
    stream: Option<Arc<StreamGuard>>,
}

impl ClientBody {
    pub(super) fn new(inner: Incoming, stream: Option<Arc<StreamGuard>>) -> Self {
        Self { inner, stream }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> PollFrame<Bytes, hyper::Error> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.stream = None;
        }
        frame
    }

    size_of_inner!(inner);
}

pin_project! {
    /// A request body whose errors can be told from those of the connection.
    pub(super) struct SentBody<B> {
        #[pin]
        inner: B,
        // The stream is open until this body has ended, too: a response may end before it.
        stream: Option<Arc<StreamGuard>>,
    }
}

impl<B> SentBody<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, stream: None }
    }

    /// Keeps the stream that the body is sent on. `None` is for a body that was not sent.
    pub(super) fn hold(&mut self, stream: Option<Arc<StreamGuard>>) {
        self.stream = stream;
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for SentBody<B> {
    type Data = B::Data;
    type Error = BodyFailed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data, BodyFailed> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            *this.stream = None;
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| BodyFailed(error.into()))))
    }

    size_of_inner!(inner);
}

/// The error of a request body.
#[derive(Debug)]
pub(super) struct BodyFailed(BoxError);

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl StdError for BodyFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
