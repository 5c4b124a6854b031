//! What is added to an invocation by the SDK: the event, the balancer, the answer. The SDK's client
//! is answered in process, so that its own work (serialising, signing) is all that it does.

use std::{
    future::Future,
    hint::black_box,
    task::{Context, Waker},
};

use aws_sdk_lambda::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    primitives::{Blob, SdkBody},
};
use aws_smithy_http_client::test_util::infallible_client_fn;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::Full;
use tokio::runtime;
use tower::ServiceExt;
use tower_lb::{
    Balancer,
    discover::DiscoverExt,
    lambda::{
        self, AlbEvent, EventFormat, Function, HttpFunction, Invocation, InvocationStatus, aws::Sdk,
    },
    strategy::P2c,
};

const BODY: usize = 10 * 1024;

fn body(kind: &str) -> Bytes {
    match kind {
        "application/json" => {
            let orders = (0..).map(|n| format!("{{\"order\":{n},\"name\":\"so \\\"named\\\"\"}},"));
            let mut text = orders.take(BODY / 30).collect::<String>();
            text.truncate(BODY);
            text.into()
        }
        _ => (0..BODY).map(|n| (n * 7) as u8).collect::<Vec<_>>().into(),
    }
}

fn request(kind: &str) -> Request<Bytes> {
    Request::post("/orders/7?x=1&y=%20z")
        .header("host", "shop.example")
        .header("user-agent", "curl/8.5.0")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, br")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header("cookie", "session=0123456789abcdef; theme=dark")
        .header("content-type", kind)
        .body(body(kind))
        .expect("a request")
}

/// The event itself stands for what a function answers: as large, and as escaped.
fn answer(event: &[u8]) -> Bytes {
    let event = std::str::from_utf8(event).expect("JSON");
    format!("{{\"statusCode\":200,\"statusDescription\":\"200 OK\",{}", &event[1..]).into()
}

fn client(answer: Bytes) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .retry_config(RetryConfig::disabled())
        .http_client(infallible_client_fn(move |_| {
            Response::builder().status(200).body(SdkBody::from(&answer[..])).expect("a response")
        }))
        .build();
    Client::from_conf(config)
}

fn invocation(c: &mut Criterion) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    for (name, kind) in [("10 KB of JSON", "application/json"), ("10 KB of bytes", "image/png")] {
        let mut group = c.benchmark_group(format!("lambda, {name}"));
        let format = AlbEvent::new("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/1");
        let (head, body) = request(kind).into_parts();
        let event = format.encode(&head, &body).expect("an event");
        let answer = answer(&event);
        group.bench_function("request to event", |b| {
            b.iter(|| format.encode(black_box(&head), &body).expect("an event"))
        });
        group.bench_function("answer to response", |b| {
            b.iter(|| format.decode(black_box(&answer).clone()).expect("a response"))
        });

        let client = client(answer);
        group.bench_function("the SDK alone", |b| {
            b.iter(|| {
                let payload = Blob::new(&event[..]);
                let request = client.invoke().function_name("orders").payload(payload);
                runtime.block_on(request.send()).expect("an answer")
            })
        });
        let function = Function::new(Sdk::new(client.clone()), "orders".parse().expect("a name"));
        group.bench_function("Function over the SDK", |b| {
            b.iter(|| {
                let invocation = Invocation::new(event.to_vec());
                runtime.block_on(function.clone().oneshot(invocation)).expect("an answer")
            })
        });
        let functions = lambda::functions(["orders:1", "orders:2"]).expect("names");
        let functions = functions.connect(Function::connector(Sdk::new(client)));
        let builder = Balancer::builder().classify(InvocationStatus);
        let (balancer, driver) = builder.build(P2c::default(), functions).expect("a balancer");
        let mut driver = Box::pin(driver);
        let _ = driver.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let http = HttpFunction::new(balancer, format);
        group.bench_function("HttpFunction over a balancer over the SDK", |b| {
            b.iter(|| {
                let (head, body) = (head.clone(), Full::new(body.clone()));
                let request = Request::from_parts(head, body);
                runtime.block_on(http.clone().oneshot(request)).expect("a response")
            })
        });
    }
}

criterion_group!(benches, invocation);
criterion_main!(benches);
