use std::{
    marker::PhantomData,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{
    TimeoutFuture,
    kind::{Connect, FirstByte, Overall, TimeoutKind},
};
use crate::BoxError;

/// Fails a request that takes longer than a limit with [`Elapsed`](super::Elapsed).
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
/// begin no attempt and no wait that would end after it. An earlier deadline of the request is
/// kept.
pub type OverallTimeout<S> = Timeout<S, Overall>;

impl<S, K> Timeout<S, K> {
    pub(super) const fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit, kind: PhantomData }
    }
}

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
        TimeoutFuture::new(self.inner.call(request), K::BOUND, self.limit, deadline)
    }
}
