//! Lambda: HTTP requests as events of an Application Load Balancer, and answers as responses.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::Full;
use tower::Service;
use tower_lb::{
    Balancer,
    lambda::{AlbEvent, EventFormat, HttpFunction, Invocation, InvocationStatus, Invoked},
    strategy::P2c,
};

use super::plain::ENDPOINTS;
use crate::case::{balancer, send};

/// A function that gives the same answer to all events.
#[derive(Clone)]
struct Answer(Bytes);

impl Service<Invocation> for Answer {
    type Response = Invoked;
    type Error = Infallible;
    type Future = Ready<Result<Invoked, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Invocation) -> Self::Future {
        ready(Ok(Invoked::new(200, self.0.clone())))
    }
}

fn format() -> AlbEvent {
    AlbEvent::new("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/1")
}

/// The head of a browser's request, and a body of 2 KB of JSON, as which it is escaped.
fn request() -> (Parts, Bytes) {
    let request = Request::post("/orders/7?x=1&y=%20z")
        .header("host", "shop.example")
        .header("user-agent", "curl/8.5.0")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, br")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header("cookie", "session=0123456789abcdef; theme=dark")
        .header("content-type", "application/json");
    let order = |number| format!("{{\"order\":{number},\"name\":\"named \\\"so\\\"\"}},");
    let mut orders: String = (0..).take(70).map(order).collect();
    orders.truncate(2048);
    let (head, ()) = request.body(()).expect("a valid request").into_parts();
    (head, orders.into())
}

/// The event itself stands for an answer: as long, and as escaped.
fn answer() -> Bytes {
    let (head, body) = request();
    let event = format().encode(&head, &body).expect("an event");
    let event = std::str::from_utf8(&event).expect("JSON");
    format!("{{\"statusCode\":200,\"statusDescription\":\"200 OK\",{}", &event[1..]).into()
}

pub fn encode(requests: u64) {
    let ((head, body), format) = (request(), format());
    for _ in 0..requests {
        black_box(format.encode(black_box(&head), &body).expect("an event"));
    }
}

pub fn decode(requests: u64) {
    let (answer, format) = (answer(), format());
    for _ in 0..requests {
        black_box(format.decode(black_box(&answer).clone()).expect("a response"));
    }
}

pub fn function(requests: u64) {
    let builder = Balancer::builder().classify(InvocationStatus);
    let balancer = balancer(builder, P2c::default(), Answer(answer()), ENDPOINTS);
    let (head, body) = request();
    let request = |_| Request::from_parts(head.clone(), Full::new(body.clone()));
    send(HttpFunction::new(balancer, format()), requests, request, |response| {
        assert!(response.status().is_success());
    });
}
