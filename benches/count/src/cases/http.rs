//! HTTP: the builder for HTTP, response bodies that are tracked, and retries that are not needed.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::Service;
use tower_lb::{balance::Builder, http::HttpBalancer, strategy::P2c};

use super::plain::ENDPOINTS;
use crate::case::{balancer as build, send};

/// An endpoint that responds with a body of this many frames.
#[derive(Clone, Copy)]
struct Frames(u8);

impl<B> Service<Request<B>> for Frames {
    type Response = Response<Self>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(*self)))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    #[inline]
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(5 * u64::from(self.0))
    }
}

/// Making the request is counted too: see the direct call.
fn get(_: u64) -> Request<Full<Bytes>> {
    Request::new(Full::default())
}

/// Reads the body to its end.
fn read<B: Body>(response: Response<B>) {
    let mut body = pin!(response.into_body());
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut context) {}
}

fn over(service: Frames) -> HttpBalancer<Frames, P2c> {
    build(Builder::http(), P2c::default(), service, ENDPOINTS)
}

pub fn direct(requests: u64) {
    send(Frames(0), requests, get, read);
}

pub fn balancer(requests: u64) {
    send(over(Frames(0)), requests, get, read);
}

pub fn body(requests: u64) {
    send(over(Frames(2)), requests, get, read);
}

pub fn resilient(requests: u64) {
    let service = tower_lb::http::resilient::<_, Full<Bytes>>(over(Frames(0)));
    send(service, requests, get, read);
}
