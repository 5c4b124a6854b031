//! Requests that count under a limit until their response's body has ended.
use std::{future::ready, io};

use bytes::Bytes;
use futures::{channel::mpsc, stream};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_lb::{
    http::{HeldBody, PermitUntilBodyEnd},
    limit::{Concurrency, ConcurrencyLimitLayer, Permit},
    outcome::ResultOnly,
};

type Body = BoxBody<Bytes, io::Error>;
type Limit = ConcurrencyLimitLayer<ResultOnly, (), PermitUntilBodyEnd>;
/// What becomes of a request: a response's body, or an error.
type Answer = Result<Body, io::Error>;

/// One place, and a service that answers as the request says.
fn limited() -> (
    Limit,
    impl Service<Answer, Response = Response<HeldBody<Body, Permit>>, Error = BoxError, Future: Unpin>
    + Clone,
) {
    let builder = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).queue(10);
    let limit = builder.permit_scope(PermitUntilBodyEnd).build().unwrap();
    let service = limit.layer(service_fn(|answer: Answer| ready(answer.map(Response::new))));
    (limit, service)
}

fn full(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed()
}

fn frames(frames: impl IntoIterator<Item = Result<Frame<Bytes>, io::Error>>) -> Body {
    let frames: Vec<_> = frames.into_iter().collect();
    StreamBody::new(stream::iter(frames)).boxed()
}

#[tokio::test]
async fn the_next_comes_in_when_the_body_has_ended() {
    let (limit, service) = limited();
    let (pieces, body) = mpsc::unbounded();
    let response = service.clone().oneshot(Ok(StreamBody::new(body).boxed())).await.unwrap();
    let mut next = spawn(service.oneshot(Ok(full("next"))));
    assert_pending!(next.poll());
    assert_eq!((limit.in_flight(), limit.waiting()), (1, 1));

    pieces.unbounded_send(Ok(Frame::data(Bytes::from("so far")))).unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    assert_pending!(next.poll(), "it may go on");
    drop(pieces);
    assert!(body.frame().await.is_none());
    assert!(next.is_woken());
    let next = assert_ready!(next.poll()).unwrap();
    assert_eq!(next.into_body().collect().await.unwrap().to_bytes(), "next");
    drop(body);
    assert_eq!(limit.in_flight(), 0, "each place is given back once");
}

#[tokio::test]
async fn a_place_is_given_back_however_it_ends() {
    let (limit, service) = limited();
    let answer = |body| service.clone().oneshot(Ok(body));
    let data = || Ok(Frame::data(Bytes::from("data")));

    let dropped = answer(full("not read")).await.unwrap();
    assert_eq!(limit.in_flight(), 1);
    drop(dropped);
    assert_eq!(limit.in_flight(), 0, "dropped");

    let empty = Empty::new().map_err(|never| match never {}).boxed();
    let _empty = answer(empty).await.unwrap();
    assert_eq!(limit.in_flight(), 0, "there is nothing to read");

    let mut last = answer(full("all")).await.unwrap().into_body();
    last.frame().await.unwrap().unwrap();
    assert_eq!(limit.in_flight(), 0, "with the last of the data");

    let trailers = [data(), Ok(Frame::trailers(HeaderMap::new()))];
    let mut trailers = answer(frames(trailers)).await.unwrap().into_body();
    trailers.frame().await.unwrap().unwrap();
    assert_eq!(limit.in_flight(), 1);
    assert!(trailers.frame().await.unwrap().unwrap().is_trailers());
    assert_eq!(limit.in_flight(), 0, "trailers");

    let broken = [data(), Err(io::ErrorKind::ConnectionReset.into())];
    let mut broken = answer(frames(broken)).await.unwrap().into_body();
    broken.frame().await.unwrap().unwrap();
    assert_eq!(limit.in_flight(), 1);
    broken.frame().await.unwrap().unwrap_err();
    assert_eq!(limit.in_flight(), 0, "an error");

    let refused = service.clone().oneshot(Err(io::ErrorKind::ConnectionRefused.into()));
    refused.await.unwrap_err();
    assert_eq!(limit.in_flight(), 0, "there is no body");
}
