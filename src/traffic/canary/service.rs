use std::task::{Context, Poll, ready};

use tower_layer::Layer;
use tower_service::Service;

use super::{CanaryFuture, CanaryLayer, StickyKey};
use crate::{BoxError, escape::EscapedChain, rng::Rng};

/// Sends a share of the requests to another service: a new version, a new region.
///
/// With a [key](CanaryLayer::sticky_by), requests with the same key go to the same service, and
/// those that go to the canary stay there when the share grows. While the canary is not ready, all
/// requests go to the stable service. A failure of the canary is returned to the caller like any
/// response.
#[derive(Debug)]
pub struct Canary<A, B, K = ()> {
    stable: A,
    layer: CanaryLayer<B, K>,
    rng: Rng,
    canary: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotReady,
    Ready,
    /// `poll_ready` failed, so that the canary must not be used any more.
    Failed,
}

impl<A, B, K> Canary<A, B, K> {
    pub(super) fn new(stable: A, layer: CanaryLayer<B, K>, rng: Rng) -> Self {
        Self { stable, layer, rng, canary: State::NotReady }
    }
}

impl<A: Clone, B: Clone, K> Clone for Canary<A, B, K> {
    /// The clone draws its own random numbers.
    fn clone(&self) -> Self {
        self.layer.layer(self.stable.clone())
    }
}

impl<A, B, K, Req> Service<Req> for Canary<A, B, K>
where
    A: Service<Req>,
    A::Error: Into<BoxError>,
    B: Service<Req, Response = A::Response>,
    B::Error: Into<BoxError>,
    K: StickyKey<Req>,
{
    type Response = A::Response;
    type Error = BoxError;
    type Future = CanaryFuture<A::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The stable service comes first: otherwise a permit of the canary would be held while the
        // stable service is not ready.
        ready!(self.stable.poll_ready(cx)).map_err(Into::into)?;
        if self.canary == State::NotReady && self.layer.share() > 0.0 {
            match self.layer.canary.poll_ready(cx) {
                Poll::Ready(Ok(())) => self.canary = State::Ready,
                Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!(
                        error = %EscapedChain(&*error.into()),
                        "the canary service failed, so all requests go to the stable service",
                    );
                    self.canary = State::Failed;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // A key always gives the same fraction. It is compared with the share, so a larger share
        // only adds keys to the canary.
        let fraction = match self.layer.shared.key.key(&request) {
            Some(key) => Rng::seeded(key).unit(),
            None => self.rng.unit(),
        };
        if self.canary == State::Ready && fraction < self.layer.share() {
            self.canary = State::NotReady;
            return CanaryFuture::canary(self.layer.canary.call(request));
        }
        CanaryFuture::stable(self.stable.call(request))
    }
}
