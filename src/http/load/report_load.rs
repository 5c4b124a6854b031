use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{in_flight_header::InFlight, latency_by_load::LatencyByLoad};
use crate::{future::polled_after_completion, http::HeldBody};

/// Adds the load of the server to each response, in the header
/// [`endpoint-in-flight`](crate::http::IN_FLIGHT).
///
/// [`PredictedLatency`](crate::load::PredictedLatency) uses these reports. Put one layer around all
/// of a server: all services of one layer and its clones count together.
///
/// **Requests in flight.** A request counts from the call until the response body has ended or the
/// request is cancelled. The reported number does not include the request that is answered.
///
/// **Latency** is the time from the call to the head of the response. The layer keeps the latest
/// twelve latencies for each number of requests that were in flight when the request arrived;
/// 63 and all higher numbers count as one number. It reports the median at the present number,
/// together with the nearest numbers until there are five latencies. A latency counts for a
/// minute; without one, no latency is reported. Errors and responses with status 429 or 5xx are not
/// measured, because a failure may be fast at any load. See
/// [`without_latency`](ReportLoadLayer::without_latency).
///
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_lb::http::ReportLoadLayer;
///
/// # use http::{Request, Response};
/// # type Body = http_body_util::Empty<bytes::Bytes>;
/// # async fn answer(_: Request<()>) -> Result<Response<Body>, std::io::Error> {
/// #     Ok(Default::default())
/// # }
/// let load = ReportLoadLayer::new().capacity(16);
/// let service = ServiceBuilder::new().layer(load).service_fn(answer);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReportLoadLayer {
    server: Arc<Server>,
    capacity: Option<u32>,
    without_latency: bool,
}

/// The measurements that all clones of a layer share.
#[derive(Debug)]
struct Server {
    in_flight: AtomicUsize,
    latencies: LatencyByLoad,
    /// The instant that the times of `latencies` count from.
    since: Instant,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::default(),
            latencies: LatencyByLoad::default(),
            since: Instant::now(),
        }
    }
}

impl Server {
    /// Records a request that arrived with `others` in flight at `began` and was answered at `now`.
    fn record(&self, others: u32, began: Instant, now: Instant) {
        let latency = now.saturating_duration_since(began).as_secs_f64();
        self.latencies.record(others, latency, now.saturating_duration_since(self.since));
    }

    /// Returns the latency of requests with `in_flight` others in flight; `None` if it is not
    /// known.
    fn latency(&self, in_flight: usize, now: Instant) -> Option<Duration> {
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        let seconds = self.latencies.near(in_flight, now.saturating_duration_since(self.since));
        Duration::try_from_secs_f64(seconds).ok().filter(|latency| !latency.is_zero())
    }
}

impl ReportLoadLayer {
    /// Reports requests in flight and latency.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Also reports how many requests the server can serve concurrently without slowing any of
        /// them. For work that is limited by processors, this is their number. Default: not
        /// reported.
        pub fn capacity(requests: u32) => capacity = Some(requests);
    }

    /// Neither measures nor reports latency, which saves two clock reads for each request.
    ///
    /// For servers whose requests differ so much in kind that a latency does not describe the
    /// server. Default: latency is reported.
    #[must_use]
    pub fn without_latency(mut self) -> Self {
        self.without_latency = true;
        self
    }

    /// Returns the header with the present load, which answers a [probe](crate::http::load_probe).
    ///
    /// ```
    /// # use tower_lb::http::ReportLoadLayer;
    /// let load = ReportLoadLayer::new().capacity(16);
    /// let (name, value) = load.header();
    /// assert_eq!((name.as_str(), value.as_bytes()), ("endpoint-in-flight", &b"0/16"[..]));
    /// ```
    #[must_use]
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        (crate::http::IN_FLIGHT, self.value(self.in_flight(), self.now()))
    }

    /// Reads the clock; `None` if latency is not measured.
    fn now(&self) -> Option<Instant> {
        (!self.without_latency).then(Instant::now)
    }

    /// Returns the header value, without a latency if `now` is `None`.
    fn value(&self, in_flight: usize, now: Option<Instant>) -> HeaderValue {
        let latency = now.and_then(|now| self.server.latency(in_flight, now));
        InFlight { in_flight, capacity: self.capacity, latency }.value()
    }

    /// Returns the number of requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.server.in_flight.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for ReportLoadLayer {
    type Service = ReportLoad<S>;

    fn layer(&self, inner: S) -> ReportLoad<S> {
        ReportLoad { inner, load: self.clone() }
    }
}

/// Counts and times requests, and reports the load in responses; made by [`ReportLoadLayer`].
#[derive(Clone, Debug)]
pub struct ReportLoad<S> {
    inner: S,
    load: ReportLoadLayer,
}

/// A guard that counts one request of [`ReportLoad`]. The response [body](HeldBody) drops it at its
/// end.
#[derive(Debug)]
pub struct Counted {
    load: ReportLoadLayer,
    /// How many others were in flight when the request arrived.
    others: u32,
    /// `None` if latency is not measured.
    began: Option<Instant>,
}

impl Counted {
    fn new(load: &ReportLoadLayer) -> Self {
        let others = load.server.in_flight.fetch_add(1, Ordering::Relaxed);
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        Self { load: load.clone(), others, began: load.now() }
    }

    /// Records the latency at the response head and returns the header value for the response.
    fn on_response(&self, status: StatusCode) -> HeaderValue {
        let now = self.load.now();
        let failed = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        if let Some((began, now)) = self.began.zip(now).filter(|_| !failed) {
            self.load.server.record(self.others, began, now);
        }
        let others = self.load.in_flight().saturating_sub(1);
        self.load.value(others, now)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.load.server.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S: Service<Req, Response = Response<B>>, Req, B: Body> Service<Req> for ReportLoad<S> {
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
    /// The response future of [`ReportLoad`].
    #[derive(Debug)]
    pub struct ReportLoadFuture<F> {
        #[pin]
        response: F,
        counted: Option<Counted>,
    }
}

impl<F: Future<Output = Result<Response<B>, E>>, B: Body, E> Future for ReportLoadFuture<F> {
    type Output = Result<Response<HeldBody<B, Counted>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let counted = this.counted.take();
        let counted = counted.unwrap_or_else(|| polled_after_completion("ReportLoadFuture"));
        let load = counted.on_response(response.status());
        response.headers_mut().insert(crate::http::IN_FLIGHT, load);
        Poll::Ready(Ok(HeldBody::hold(response, counted)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt;
    use http::Request;
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::{http::load::in_flight_header, outcome::LoadReport};

    fn reported(response: &Response<impl Sized>) -> LoadReport {
        in_flight_header::read(response.headers()).unwrap()
    }

    /// The path is the status and the milliseconds until the response.
    async fn answer(request: Request<()>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
        let (status, millis) = request.uri().path()[1..].split_once('/').unwrap();
        tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
        Ok(Response::builder().status(status).body(Full::default()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_latency_is_that_at_the_present_load_and_of_successes() {
        let layer = ReportLoadLayer::new();
        let mut service = layer.layer(tower::service_fn(answer));
        let mut call = |path: &str| service.call(Request::get(path).body(()).unwrap());
        assert_eq!(layer.header().1, "0");
        for failure in ["/500/1", "/503/0", "/429/1"] {
            assert_eq!(reported(&call(failure).await.unwrap()).latency(), None);
        }
        let alone = call("/200/20").await.unwrap();
        assert_eq!(reported(&alone).latency(), Some(Duration::from_millis(20)));
        drop(alone);
        for _ in 0..5 {
            _ = call("/404/20").await.unwrap();
            let both = futures::future::join(call("/200/1000"), call("/200/100"));
            _ = both.await;
        }
        assert_eq!(
            layer.header().1,
            "0;latency-ms=20.000",
            "the median of requests that arrived alone"
        );
        let hanging = call("/200/100");
        assert_eq!(layer.header().1, "1;latency-ms=100.000");
        drop(hanging);
        let silent = ReportLoadLayer::new().without_latency();
        let request = Request::get("/200/20").body(()).unwrap();
        let response = silent.layer(tower::service_fn(answer)).call(request).await.unwrap();
        assert_eq!(response.headers()[super::super::IN_FLIGHT], "0");
    }

    /// A stall must not be reported whenever the same number of requests is in flight again.
    #[tokio::test(start_paused = true)]
    async fn a_stall_is_forgotten_after_a_minute() {
        let layer = ReportLoadLayer::new();
        let mut service = layer.layer(tower::service_fn(answer));
        let mut call = |path: &str| service.call(Request::get(path).body(()).unwrap());
        for _ in 0..5 {
            _ = futures::future::join(call("/200/20"), call("/200/5000")).await;
        }
        let hanging = call("/200/100");
        assert_eq!(layer.header().1, "1;latency-ms=5000.000");
        tokio::time::advance(Duration::from_secs(45)).await;
        for _ in 0..5 {
            _ = call("/200/30").await.unwrap();
        }
        tokio::time::advance(Duration::from_secs(45)).await;
        assert_eq!(layer.header().1, "1;latency-ms=30.000");
        drop(hanging);
        assert_eq!(layer.header().1, "0;latency-ms=30.000", "from the nearest number");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(layer.header().1, "0", "no latency counts");
    }

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
        let load = |response: &Response<_>| {
            let report = reported(response);
            (report.requests_in_flight().unwrap(), report.free_capacity().unwrap())
        };
        assert_eq!((load(&first), load(&second)), ((1.0, 1.0), (2.0, 0.0)));
        assert_eq!(layer.in_flight(), 3);
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "body");
        drop(second);
        assert_eq!(layer.in_flight(), 1);
        drop(hanging);
        assert_eq!(layer.in_flight(), 0);
    }
}
