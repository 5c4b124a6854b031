use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{Rejected, layer::Shared};
use crate::{BoxError, outcome::Classify};

pin_project! {
    /// The response of an [`AdaptiveThrottle`](super::AdaptiveThrottle).
    #[derive(Debug)]
    pub struct AdaptiveThrottleFuture<F, C> {
        // `None` if the request is rejected.
        #[pin]
        response: Option<F>,
        share: f64,
        shared: Arc<Shared<C>>,
    }
}

impl<F, C> AdaptiveThrottleFuture<F, C> {
    pub(super) fn new(response: Option<F>, share: f64, shared: Arc<Shared<C>>) -> Self {
        Self { response, share, shared }
    }
}

impl<F, C, Rsp, E> Future for AdaptiveThrottleFuture<F, C>
where
    F: Future<Output = Result<Rsp, E>>,
    E: Into<BoxError>,
    C: Classify<Rsp>,
{
    type Output = Result<Rsp, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(response) = this.response.as_pin_mut() else {
            return Poll::Ready(Err(Rejected::Throttled { share: *this.share }.into()));
        };
        let result = ready!(response.poll(cx)).map_err(Into::into);
        this.shared.record(&result);
        Poll::Ready(result)
    }
}
