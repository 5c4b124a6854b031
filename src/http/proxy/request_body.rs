use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use crate::{BoxError, hop_by_hop::screen_trailers, http::body::PollFrame, outcome::CallerError};

/// Why a [`RequestBody`] failed. The client is at fault, not the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestBodyError {
    /// The body has more bytes than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The client sent nothing for longer than the limit.
    Stalled {
        /// The limit.
        limit: Duration,
    },
}

impl fmt::Display for RequestBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "the request body has more than {limit} bytes")
            }
            Self::Stalled { limit } => {
                write!(f, "the client sent nothing of the request body for {limit:?}")
            }
        }
    }
}

impl StdError for RequestBodyError {}

/// What the body and the response future of a request tell each other.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// How the body failed.
    pub(super) failure: OnceLock<RequestBodyError>,
    /// Whether the response has begun. From then on the client may be silent, as in a stream of
    /// gRPC.
    pub(super) answered: AtomicBool,
}

pin_project! {
    /// The request body that a [`Proxy`](crate::http::Proxy) forwards.
    ///
    /// Data passes through unchanged. Trailers lose the fields that have no place there: those of
    /// a connection, of framing and routing, and those that describe the client. It fails with a
    /// [`CallerError`], whose source is a [`RequestBodyError`] if the body exceeds a limit of the
    /// proxy, and the error of the inner body otherwise.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        // `None` for the default body, which is empty.
        #[pin]
        body: Option<B>,
        // `None` for an empty body, which cannot exceed a limit.
        limits: Option<Limited>,
    }
}

#[derive(Debug)]
struct Limited {
    /// The bytes that may still come.
    remaining: u64,
    max_bytes: u64,
    idle: Duration,
    /// Made by the first wait. Boxed, because clients take bodies that may be moved.
    timer: Option<Pin<Box<Sleep>>>,
    /// A reader waits for a frame, so the timer runs.
    waiting: bool,
    exchange: Arc<Exchange>,
}

impl<B: Body> RequestBody<B> {
    /// Limits a body, and returns what it shares with the response future.
    pub(super) fn new(
        body: B,
        max_bytes: Option<u64>,
        idle: Duration,
    ) -> (Self, Option<Arc<Exchange>>) {
        if body.is_end_stream() {
            return (Self { body: Some(body), limits: None }, None);
        }
        let exchange = Arc::<Exchange>::default();
        // No body reaches the largest number.
        let max_bytes = max_bytes.unwrap_or(u64::MAX);
        let limits = Limited {
            remaining: max_bytes,
            max_bytes,
            idle,
            timer: None,
            waiting: false,
            exchange: Arc::clone(&exchange),
        };
        (Self { body: Some(body), limits: Some(limits) }, Some(exchange))
    }
}

impl Limited {
    /// Counts the bytes of a frame.
    fn count(&mut self, bytes: usize) -> Result<(), RequestBodyError> {
        let too_large = RequestBodyError::TooLarge { limit: self.max_bytes };
        self.remaining = self.remaining.checked_sub(bytes as u64).ok_or(too_large)?;
        Ok(())
    }

    /// Completes after the reader has waited for the idle time.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let wait_begins = !std::mem::replace(&mut self.waiting, true);
        match &mut self.timer {
            Some(timer) if wait_begins => match Instant::now().checked_add(idle) {
                Some(deadline) => timer.as_mut().reset(deadline),
                // Beyond the range of the clock: `sleep` waits for a very long time.
                None => timer.set(sleep(idle)),
            },
            Some(_) => {}
            None => self.timer = Some(Box::pin(sleep(idle))),
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }

    fn fail(&self, error: RequestBodyError) -> BoxError {
        // Only the first failure counts.
        let _ = self.exchange.failure.set(error);
        of_caller(error)
    }
}

/// Marks an error, so that no client and no endpoint's service that returns it is charged.
fn of_caller(error: impl Into<BoxError>) -> BoxError {
    CallerError::new(error).into()
}

impl<B: Body<Error: Into<BoxError>>> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data> {
        let this = self.project();
        let Some(mut body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let Some(limits) = this.limits else {
            return body.as_mut().poll_frame(cx).map_err(of_caller);
        };
        if let Some(&error) = limits.exchange.failure.get() {
            return Poll::Ready(Some(Err(of_caller(error))));
        }
        if let Poll::Ready(mut frame) = body.as_mut().poll_frame(cx) {
            limits.waiting = false;
            if let Some(trailers) = frame.as_mut().and_then(|f| f.as_mut().ok()?.trailers_mut()) {
                screen_trailers(trailers);
            }
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            if let Err(error) = limits.count(data.map_or(0, Buf::remaining)) {
                return Poll::Ready(Some(Err(limits.fail(error))));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(of_caller)));
        }
        ready!(limits.poll_idle(cx));
        if limits.exchange.answered.load(Relaxed) {
            return Poll::Pending;
        }
        let limit = limits.idle;
        Poll::Ready(Some(Err(limits.fail(RequestBodyError::Stalled { limit }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Default for RequestBody<B> {
    /// Returns an empty body, whatever `B` is: health checks send one.
    fn default() -> Self {
        Self { body: None, limits: None }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_secs(5);

    fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from(*piece)))).collect();
        StreamBody::new(stream::iter(frames))
    }

    async fn read(max: u64, sent: &[&'static str]) -> Result<Bytes, RequestBodyError> {
        let (body, exchange) = RequestBody::new(pieces(sent), Some(max), IDLE);
        match Box::pin(body).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => {
                let error = *error.source().unwrap().downcast_ref().unwrap();
                assert_eq!(exchange.unwrap().failure.get(), Some(&error));
                Err(error)
            }
        }
    }

    #[tokio::test]
    async fn a_body_may_have_as_many_bytes_as_the_limit() {
        assert_eq!(read(6, &["abc", "def"]).await.unwrap(), "abcdef");
        assert_eq!(read(5, &["abc", "def"]).await, Err(RequestBodyError::TooLarge { limit: 5 }));
        assert_eq!(read(0, &[]).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_stop() {
        let slow = stream::iter(["a"; 5]).then(|piece| async move {
            tokio::time::sleep(IDLE - Duration::from_millis(1)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))
        });
        let (body, _) = RequestBody::new(StreamBody::new(slow), None, IDLE);
        assert_eq!(Box::pin(body).collect().await.unwrap().to_bytes(), "aaaaa");

        let stopped = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let (body, exchange) = RequestBody::new(stopped, None, IDLE);
        assert!(Box::pin(body).collect().await.is_err());
        assert_eq!(
            exchange.unwrap().failure.get(),
            Some(&RequestBodyError::Stalled { limit: IDLE })
        );

        // A client that listens to a stream need not send.
        let silent = stream::once(tokio::time::sleep(IDLE * 3));
        let silent = silent.map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from("late"))));
        let (body, exchange) = RequestBody::new(StreamBody::new(silent), None, IDLE);
        exchange.unwrap().answered.store(true, Relaxed);
        assert_eq!(Box::pin(body).collect().await.unwrap().to_bytes(), "late");
    }
}
