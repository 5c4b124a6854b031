use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::limit::{Permit, PermitScope};

/// A request keeps its permit under a [`ConcurrencyLimit`](crate::limit::ConcurrencyLimit) until its response's
/// body has ended, failed, or been dropped.
///
/// ```
/// use tower_lb::{http, limit::{Concurrency, ConcurrencyLimitLayer}};
///
/// let builder = ConcurrencyLimitLayer::builder(Concurrency::fixed(100));
/// let layer = builder.queue(50).permit_scope(http::PermitUntilBodyEnd).build()?;
/// # let _: ConcurrencyLimitLayer<_, _, http::PermitUntilBodyEnd> = layer;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PermitUntilBodyEnd;

impl<B: Body> PermitScope<Response<B>> for PermitUntilBodyEnd {
    type Response = Response<HeldBody<B, Permit>>;

    fn keep_permit(&self, response: Response<B>, permit: Permit) -> Self::Response {
        response.map(|body| HeldBody::new(body, permit))
    }
}

pin_project! {
    /// A body that keeps what is given back when it has ended, failed, or been dropped; frames and trailers
    /// pass through as they are.
    #[derive(Debug)]
    pub struct HeldBody<B, G> {
        #[pin]
        body: B,
        // Until it ends.
        guard: Option<G>,
    }
}

impl<B: Body, G> HeldBody<B, G> {
    pub(crate) fn new(body: B, guard: G) -> Self {
        // Nobody may ever read what is empty.
        let guard = (!body.is_end_stream()).then_some(guard);
        Self { body, guard }
    }
}

impl<B: Body, G> Body for HeldBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Whoever reads may not ask again after trailers or the last of the data.
        let goes_on = matches!(&frame, Some(Ok(frame)) if !frame.is_trailers());
        if !goes_on || this.body.is_end_stream() {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
