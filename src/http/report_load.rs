use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{HeldBody, in_flight_header};
use crate::future::polled_after_completion;

/// Makes a server tell with each response how many requests it has, in the header
/// [`endpoint-in-flight`](super::IN_FLIGHT): what
/// [`PredictedLatency`](crate::load::PredictedLatency) goes by.
///
/// A request counts from the call to the end of the response's body, also if it is cancelled. What
/// is told is how many there are beside the one that is answered. All services made by one layer,
/// and its clones, count together: put one layer around all of a server.
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_lb::http::ReportLoadLayer;
///
/// # use http_body_util::Empty;
/// # async fn answer(_: ::http::Request<()>) -> Result<::http::Response<Empty<bytes::Bytes>>, std::io::Error> {
/// #     Ok(Default::default())
/// # }
/// let service = ServiceBuilder::new().layer(ReportLoadLayer::new().capacity(16)).service_fn(answer);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReportLoadLayer {
    in_flight: Arc<AtomicUsize>,
    capacity: Option<u32>,
}

impl ReportLoadLayer {
    /// Tells requests in flight alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells also how many requests the server can serve at once without slowing any down: for work
    /// that is bound by processors, their number. Default: not told.
    #[must_use]
    pub fn capacity(mut self, requests: u32) -> Self {
        self.capacity = Some(requests);
        self
    }

    /// The header that it writes, with how many requests there are now: the answer to a
    /// [probe](super::load_probe).
    ///
    /// ```
    /// # use tower_lb::http::ReportLoadLayer;
    /// let load = ReportLoadLayer::new().capacity(16);
    /// let (name, value) = load.header();
    /// assert_eq!((name.as_str(), value.as_bytes()), ("endpoint-in-flight", &b"0/16"[..]));
    /// ```
    #[must_use]
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        (super::IN_FLIGHT, in_flight_header::value(self.in_flight(), self.capacity))
    }

    /// How many requests there are.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for ReportLoadLayer {
    type Service = ReportLoad<S>;

    fn layer(&self, inner: S) -> ReportLoad<S> {
        ReportLoad { inner, load: self.clone() }
    }
}

/// The service of [`ReportLoadLayer`].
#[derive(Clone, Debug)]
pub struct ReportLoad<S> {
    inner: S,
    load: ReportLoadLayer,
}

/// A request that a [`ReportLoad`] has counted: until this is dropped, which its response's [body](HeldBody)
/// does when it ends.
#[derive(Debug)]
pub struct Counted(ReportLoadLayer);

impl Counted {
    fn new(load: &ReportLoadLayer) -> Self {
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(load.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, Req, B> Service<Req> for ReportLoad<S>
where
    S: Service<Req, Response = Response<B>>,
    B: Body,
{
    type Response = Response<HeldBody<B, Counted>>;
    type Error = S::Error;
    type Future = ReportLoadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let counted = Some(Counted::new(&self.load));
        ReportLoadFuture { response: self.inner.call(request), counted }
    }
}

pin_project! {
    /// The response of a [`ReportLoad`].
    #[derive(Debug)]
    pub struct ReportLoadFuture<F> {
        #[pin]
        response: F,
        counted: Option<Counted>,
    }
}

impl<F, B, E> Future for ReportLoadFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<HeldBody<B, Counted>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let counted = this.counted.take();
        let counted = counted.unwrap_or_else(|| polled_after_completion("ReportLoadFuture"));
        let load = &counted.0;
        let others = load.in_flight().saturating_sub(1);
        in_flight_header::write(response.headers_mut(), others, load.capacity);
        Poll::Ready(Ok(response.map(|body| HeldBody::new(body, counted))))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use http::Request;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn requests_count_until_their_bodies_end_or_they_are_cancelled() {
        let layer = ReportLoadLayer::new().capacity(2);
        let mut service = layer.layer(tower::service_fn(async |request: Request<()>| {
            if request.uri() == "/hang" {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from_static(b"body"))))
        }));
        let mut call = |path: &'static str| service.call(Request::get(path).body(()).unwrap());
        let mut hanging = Box::pin(call("/hang"));
        assert!((&mut hanging).now_or_never().is_none());
        let first = call("/").await.unwrap();
        let second = call("/").await.unwrap();
        let told = |response: &Response<_>| {
            let report = in_flight_header::read(response.headers()).unwrap();
            (report.requests_in_flight().unwrap(), report.free_capacity().unwrap())
        };
        assert_eq!((told(&first), told(&second)), ((1.0, 1.0), (2.0, 0.0)));
        assert_eq!(layer.in_flight(), 3);
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "body");
        drop(second);
        assert_eq!(layer.in_flight(), 1);
        drop(hanging);
        assert_eq!(layer.in_flight(), 0);
    }
}
