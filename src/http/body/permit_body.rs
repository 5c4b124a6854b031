use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{PollFrame, switched::switches_protocols};
use crate::limit::{Permit, PermitScope};

/// Keeps the permit of a [`ConcurrencyLimit`](crate::limit::ConcurrencyLimit) until the response
/// body ends, fails or is dropped. After a switch of protocols, such as to WebSocket, the body is
/// empty, and only dropping it releases the permit.
///
/// ```
/// use tower_lb::{http::PermitUntilBodyEnd, limit::{Concurrency, ConcurrencyLimitLayer}};
///
/// let builder = ConcurrencyLimitLayer::builder(Concurrency::fixed(100));
/// let layer = builder.queue(50).permit_scope(PermitUntilBodyEnd).build()?;
/// # let _: ConcurrencyLimitLayer<_, _, PermitUntilBodyEnd> = layer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PermitUntilBodyEnd;

impl<B: Body> PermitScope<Response<B>> for PermitUntilBodyEnd {
    type Response = Response<HeldBody<B, Permit>>;

    fn keep_permit(&self, response: Response<B>, permit: Permit) -> Self::Response {
        HeldBody::hold(response, permit)
    }
}

pin_project! {
    /// A body that holds a guard until it ends, fails or is dropped.
    ///
    /// Frames and trailers pass through unchanged.
    #[derive(Debug)]
    pub struct HeldBody<B, G> {
        #[pin]
        body: B,
        // `None` after the end of the body.
        guard: Option<G>,
    }
}

impl<B: Body, G> HeldBody<B, G> {
    /// Lets the body of a response hold `guard`.
    pub(crate) fn hold(response: Response<B>, guard: G) -> Response<Self> {
        // An empty body may never be polled, so its guard is released here. That of a response
        // which switches protocols is held until it is dropped.
        let switched = switches_protocols(response.status(), response.extensions());
        response.map(|body| {
            let guard = (switched || !body.is_end_stream()).then_some(guard);
            Self { body, guard }
        })
    }
}

impl<B: Body, G> Body for HeldBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<B::Data, B::Error> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // A reader may stop polling after trailers or after the last data frame.
        let continues = matches!(&frame, Some(Ok(frame)) if !frame.is_trailers());
        if !continues || this.body.is_end_stream() {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    size_of_inner!(body);
}
