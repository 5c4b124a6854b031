use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use super::{IdleBody, PollFrame};
use crate::{
    BoxError,
    future::LazySleep,
    outcome::{Bound, Elapsed},
};

/// Fails an exchange in which the endpoint takes no part for longer than a limit: it neither reads
/// the request body, nor begins the response, nor sends more of its body.
///
/// Unlike [`FirstByteTimeout`](crate::timeout::FirstByteTimeout) it does not limit the time of a
/// large upload. The time in which the caller has no more of the request body does not count,
/// because the endpoint waits for it too: bound that where the body comes from. Put it around an
/// endpoint's service, so that a timeout counts as a failure of the endpoint.
#[derive(Clone, Debug)]
pub struct IdleTimeout<S> {
    inner: S,
    limit: Duration,
}

/// Wraps services in [`IdleTimeout`].
#[derive(Clone, Copy, Debug)]
pub struct IdleTimeoutLayer {
    limit: Duration,
}

impl IdleTimeoutLayer {
    /// Fails an exchange whose endpoint is idle for `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for IdleTimeoutLayer {
    type Service = IdleTimeout<S>;

    fn layer(&self, inner: S) -> IdleTimeout<S> {
        IdleTimeout { inner, limit: self.limit }
    }
}

impl<S, B, R> Service<Request<B>> for IdleTimeout<S>
where
    S: Service<Request<ObservedBody<B>>, Response = Response<R>, Error: Into<BoxError>>,
    B: Body,
{
    type Response = Response<IdleBody<R>>;
    type Error = BoxError;
    type Future = IdleTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Without a body, nothing but the response can happen.
        let upload = (!request.body().is_end_stream()).then(Upload::begin);
        let observed = upload.clone();
        let request = request.map(|body| ObservedBody { body, upload: observed });
        let response = self.inner.call(request);
        IdleTimeoutFuture { response, timer: LazySleep::default(), upload, limit: self.limit }
    }
}

/// What the request body and the response future of an exchange share.
#[derive(Clone, Debug)]
struct Upload(Arc<Mutex<Progress>>);

#[derive(Clone, Copy, Debug)]
enum Progress {
    /// The endpoint was last given something at this time.
    Given(Instant),
    /// The endpoint waits for more, which the caller does not have yet.
    CallerIsIdle,
}

impl Upload {
    fn begin() -> Self {
        Self(Arc::new(Mutex::new(Progress::Given(Instant::now()))))
    }

    fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = progress;
    }

    /// Returns since when the endpoint is idle; `now` if the caller is.
    fn idle_since(&self, now: Instant) -> Instant {
        match *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Progress::Given(at) => at,
            Progress::CallerIsIdle => now,
        }
    }
}

pin_project! {
    /// The request body that the inner service of an [`IdleTimeout`] gets.
    #[derive(Debug)]
    pub struct ObservedBody<B> {
        #[pin]
        body: B,
        // `None` if the body is empty.
        upload: Option<Upload>,
    }
}

impl<B: Body> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data, B::Error> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(upload) = this.upload {
            upload.set(match frame {
                Poll::Ready(_) => Progress::Given(Instant::now()),
                Poll::Pending => Progress::CallerIsIdle,
            });
        }
        frame
    }

    size_of_inner!(body);
}

pin_project! {
    /// The response future of [`IdleTimeout`].
    #[derive(Debug)]
    pub struct IdleTimeoutFuture<F> {
        #[pin]
        response: F,
        #[pin]
        timer: LazySleep,
        upload: Option<Upload>,
        limit: Duration,
    }
}

impl<F, R, E> Future for IdleTimeoutFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<IdleBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = *this.limit;
        if let Poll::Ready(response) = this.response.poll(cx) {
            let body = |body| IdleBody::new(body, limit);
            return Poll::Ready(response.map(|response| response.map(body)).map_err(Into::into));
        }
        loop {
            let now = Instant::now();
            // A limit beyond the range of the clock never ends.
            let Some(next) = now.checked_add(limit) else { return Poll::Pending };
            ready!(this.timer.as_mut().poll(cx, || sleep_until(next)));
            let idle_since = this.upload.as_ref().map(|upload| upload.idle_since(now));
            match idle_since.and_then(|since| since.checked_add(limit)).filter(|&end| end > now) {
                None => return Poll::Ready(Err(Elapsed::new(Bound::FirstByte, limit).into())),
                Some(end) => {
                    this.timer.as_mut().stop();
                    ready!(this.timer.as_mut().poll(cx, || sleep_until(end)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, Empty, StreamBody};
    use tower::{ServiceExt, service_fn};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn pieces(
        count: usize,
        pause: Duration,
    ) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin {
        let frames = stream::unfold(0, move |sent| async move {
            tokio::time::sleep(pause).await;
            let frame = Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"piece")));
            (sent < count).then_some((frame, sent + 1))
        });
        StreamBody::new(Box::pin(frames))
    }

    /// Sends an upload to a service that reads a piece and pauses, and that answers after `then`.
    async fn upload(sent_each: Duration, read_each: Duration, then: Duration) -> Option<Bound> {
        let service = service_fn(move |request: Request<ObservedBody<_>>| async move {
            let mut body = std::pin::pin!(request.into_body());
            while body.frame().await.is_some() {
                tokio::time::sleep(read_each).await;
            }
            tokio::time::sleep(then).await;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let service = IdleTimeoutLayer::new(LIMIT).layer(service);
        let error = service.oneshot(Request::new(pieces(5, sent_each))).await.err()?;
        Some(error.downcast_ref::<Elapsed>().unwrap().bound())
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_silent_endpoint_is_too_late() {
        let seconds = Duration::from_secs;
        assert_eq!(upload(seconds(0), seconds(9), seconds(0)).await, None, "reads slowly");
        assert_eq!(upload(seconds(30), seconds(0), seconds(9)).await, None, "the caller is slow");
        assert_eq!(upload(seconds(0), seconds(11), seconds(0)).await, Some(Bound::FirstByte));
        assert_eq!(upload(seconds(0), seconds(0), seconds(11)).await, Some(Bound::FirstByte));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_body_the_time_is_exact() {
        let silent = service_fn(|_: Request<ObservedBody<Empty<Bytes>>>| {
            std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let (start, layer) = (Instant::now(), IdleTimeoutLayer::new(LIMIT));
        let request = || Request::new(Empty::<Bytes>::new());
        assert!(layer.layer(silent).oneshot(request()).await.is_err());
        assert_eq!(start.elapsed(), LIMIT);
    }
}
