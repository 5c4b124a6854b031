//! Time limits, each named after what it bounds.
//!
//! | limit | from | to | place it around |
//! |---|---|---|---|
//! | [`ConnectTimeout`] | a connection attempt | the connection | a connector, or see `http::Pool` |
//! | [`FirstByteTimeout`] | an attempt | its response begins | an endpoint's service |
//! | `http::AttemptTimeout` | an attempt | its response's body ends | an endpoint's service |
//! | `http::IdleBodyTimeout` | a piece of the body | the next piece | an endpoint's service |
//! | [`OverallTimeout`] | the first attempt | the response begins | all other layers |
//!
//! A limit *below* the balancer concerns one endpoint: an attempt that exceeds it is that
//! endpoint's [`Timeout`](crate::outcome::Outcome::Timeout), and a retry above may use another
//! endpoint. A limit *above* the balancer concerns the caller: attempts in flight are cancelled,
//! and their endpoints are not charged with a failure.
//!
//! [`Timeout`] is the one service behind the first, second and last of them.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer,
//!     discover::{self, DiscoverExt},
//!     strategy::P2c,
//!     timeout::FirstByteTimeoutLayer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = FirstByteTimeoutLayer::new(Duration::from_secs(1));
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]).connect(move |_| {
//!     let hangs = |_: ()| std::future::pending::<Result<(), Infallible>>();
//!     limit.layer(service_fn(hangs))
//! });
//! let balancer = Balancer::spawn(P2c::default(), endpoints);
//! assert!(balancer.clone().oneshot(()).await.is_err());
//! assert_eq!(balancer.status().endpoints.iter().map(|e| e.outcomes.timeout).sum::<u64>(), 1);
//! # }
//! ```

mod kind;

use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

use self::kind::{Connect, FirstByte, Overall, TimeoutKind};
use crate::{BoxError, future::LazySleep};

pub use crate::outcome::{Bound, Elapsed};

/// Fails a request that takes longer than a limit with [`Elapsed`].
///
/// Use it as [`ConnectTimeout`], [`FirstByteTimeout`] or [`OverallTimeout`]. Unlike tower's
/// `Timeout`, its error says what was bounded, and a response that is ready at once needs no timer.
#[derive(Clone, Debug)]
pub struct Timeout<S, K> {
    inner: S,
    limit: Duration,
    kind: PhantomData<K>,
}

/// Fails a connection attempt that takes longer than the limit. Place it around a client's
/// connector, which is a service of addresses, as in hyper and tonic.
///
/// A connection that was not made in time has not carried the request. A retry therefore sends the
/// request to another endpoint at once, idempotent or not
/// ([`RetryDecision::Unsent`](crate::retry::RetryDecision::Unsent)).
pub type ConnectTimeout<S> = Timeout<S, Connect>;

/// Fails an attempt whose response does not begin within the limit. Place it around an endpoint's
/// service, or around a balancer below a retry layer.
pub type FirstByteTimeout<S> = Timeout<S, FirstByte>;

/// Fails a request whose final response does not begin within the limit, including all attempts and
/// the waits between them.
///
/// The time runs from the call. Waiting for the service to be ready comes before the call: give a
/// balancer a [`fail_fast`](crate::balance::Builder::fail_fast) to bound that wait as well.
///
/// The request carries the deadline in its [`Attempts`](crate::outcome::Attempts): the layers below
/// begin no attempt after it, and no wait that would end after it. An earlier deadline of the
/// request is kept.
pub type OverallTimeout<S> = Timeout<S, Overall>;

impl<S, K, Req> Service<Req> for Timeout<S, K>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    K: TimeoutKind<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimeoutFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let deadline = K::deadline(&mut request, self.limit);
        let (response, timer) = (self.inner.call(request), LazySleep::default());
        TimeoutFuture { response, timer, deadline, bound: K::BOUND, limit: self.limit }
    }
}

/// Wraps services into a [`Timeout`] of the kind `K`.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer<K> {
    limit: Duration,
    kind: PhantomData<K>,
}

/// Wraps services into [`ConnectTimeout`].
pub type ConnectTimeoutLayer = TimeoutLayer<Connect>;

/// Wraps services into [`FirstByteTimeout`].
pub type FirstByteTimeoutLayer = TimeoutLayer<FirstByte>;

/// Wraps services into [`OverallTimeout`].
pub type OverallTimeoutLayer = TimeoutLayer<Overall>;

impl<K> TimeoutLayer<K> {
    /// Returns a layer whose services fail what takes longer than `limit`.
    #[must_use]
    pub const fn new(limit: Duration) -> Self {
        Self { limit, kind: PhantomData }
    }
}

impl<S, K> Layer<S> for TimeoutLayer<K> {
    type Service = Timeout<S, K>;

    fn layer(&self, inner: S) -> Timeout<S, K> {
        Timeout { inner, limit: self.limit, kind: PhantomData }
    }
}

pin_project! {
    /// The response of a [`Timeout`].
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        response: F,
        // Starts when the response is first pending: a response that is ready at once needs no
        // timer.
        #[pin]
        timer: LazySleep,
        // Without a deadline, the limit runs from the first poll.
        deadline: Option<Instant>,
        bound: Bound,
        limit: Duration,
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The response comes first: one that is ready at the deadline is still returned.
        if let Poll::Ready(result) = this.response.poll(cx) {
            return Poll::Ready(result.map_err(Into::into));
        }
        let (deadline, limit) = (*this.deadline, *this.limit);
        ready!(this.timer.poll(cx, || deadline.map_or_else(|| sleep(limit), sleep_until)));
        Poll::Ready(Err(Elapsed::new(*this.bound, *this.limit).into()))
    }
}
