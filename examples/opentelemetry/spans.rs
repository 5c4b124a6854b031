//! The spans that OpenTelemetry exports, and the headers that a server gets.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry::{
    Value,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover,
    http::{
        Origin, Pool, ResilienceLayer,
        trace::{TraceAttempts, TraceExt, TraceRequestsLayer, UrlTemplate},
    },
    retry::Backoff,
    strategy::RoundRobin,
};
use tower_lb_opentelemetry_example::{propagate, subscriber};

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// Starts a server that keeps the headers of requests, and responds with `status`.
async fn serve(status: StatusCode, seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            let respond = service_fn(move |request: Request<hyper::body::Incoming>| {
                seen.lock().unwrap().push(request.headers().clone());
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = status;
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), respond));
        }
    });
    address
}

fn attributes(span: &SpanData) -> BTreeMap<&str, &Value> {
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), &attribute.value)).collect()
}

#[tokio::test]
async fn a_request_has_one_span_and_each_attempt_has_one() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let _guard = tracing::subscriber::set_default(subscriber(&provider));

    let seen = Seen::default();
    // No server listens at the first address.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let busy = serve(StatusCode::SERVICE_UNAVAILABLE, Arc::clone(&seen)).await;
    let good = serve(StatusCode::OK, Arc::clone(&seen)).await;
    // One after the other: a whole set would arrive in any order.
    let (handle, endpoints) = discover::channel();
    for (name, address) in [("closed", closed), ("busy", busy), ("good", good)] {
        handle.insert(name, Origin::from(address)).unwrap();
    }
    let endpoints = endpoints
        .connect_traced(TraceAttempts::new().propagate(propagate), Pool::new().connector());
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), endpoints).unwrap();
    let delay = Duration::from_millis(20);
    let resilience = ResilienceLayer::builder()
        .backoff(Backoff::decorrelated(delay, 2 * delay))
        .build()
        .unwrap();
    let service = TraceRequestsLayer::new("shop").layer(resilience.layer(balancer));

    // A client's own context, which a gateway forwards.
    let request = Request::get("/users/7?token=secret")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("tracestate", "vendor=1")
        .extension(UrlTemplate::new("/users/{id}"))
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);

    let spans = exporter.get_finished_spans().unwrap();
    let (requests, attempts): (Vec<_>, Vec<_>) =
        spans.iter().partition(|span| span.span_kind == SpanKind::Internal);
    let [request] = requests[..] else { panic!("{spans:?}") };
    let [first, second, third] = attempts[..] else { panic!("{spans:?}") };

    assert_eq!((&*request.name, &request.status), ("shop", &Status::Unset));
    let of_request = attributes(request);
    assert_eq!(of_request["lb.attempts"], &Value::I64(3));
    assert_eq!(of_request["lb.outcome"], &Value::from("response"));
    // A backend that counts HTTP requests must not count this span as one.
    let is_http = |key: &&str| key.starts_with("http.") || key.starts_with("url.");
    assert!(!of_request.keys().any(is_http), "{of_request:?}");

    for (number, (span, address)) in attempts.iter().zip([closed, busy, good]).enumerate() {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(span.name, "GET /users/{id}");
        assert_eq!(span.parent_span_id, request.span_context.span_id());
        assert_eq!(span.span_context.trace_id(), request.span_context.trace_id());
        let of_attempt = attributes(span);
        let port = Value::I64(address.port().into());
        assert_eq!(of_attempt["http.request.method"], &Value::from("GET"));
        assert_eq!(of_attempt["server.address"], &Value::from("127.0.0.1"));
        assert_eq!(of_attempt["server.port"], &port);
        assert_eq!(of_attempt["network.peer.address"].as_str(), "127.0.0.1");
        assert_eq!(of_attempt["network.peer.port"], &port);
        assert_eq!(of_attempt["url.template"], &Value::from("/users/{id}"));
        assert_eq!(of_attempt["url.full"].as_str(), format!("http://{address}/users/7?*"));
        let resend = of_attempt.get("http.request.resend_count");
        let expected = Value::I64(number as i64);
        assert_eq!(resend, (number > 0).then_some(&&expected));
    }
    let of = [first, second, third].map(attributes);
    assert_eq!(of[0]["lb.endpoint"], &Value::from("closed"));
    assert_eq!(of[0]["error.type"], &Value::from("connection_refused"));
    assert_eq!(of[0]["lb.outcome"], &Value::from("error"));
    assert!(!of[0].contains_key("http.response.status_code"), "{:?}", of[0]);
    let Status::Error { description } = &first.status else { panic!("{:?}", first.status) };
    assert!(description.contains("Connection refused"), "{description}");

    assert_eq!(of[1]["http.response.status_code"], &Value::I64(503));
    assert_eq!(of[1]["network.protocol.version"], &Value::from("1.1"));
    assert_eq!(of[1]["error.type"], &Value::from("503"));
    assert_eq!(of[1]["lb.attempt.reason"], &Value::from("transport_failure"));
    assert_eq!(second.status, Status::error(""));

    assert_eq!(of[2]["http.response.status_code"], &Value::I64(200));
    assert_eq!(of[2]["lb.attempt.reason"], &Value::from("overload"));
    assert_eq!(third.status, Status::Unset);
    assert!(!of[2].contains_key("error.type"));
    let Value::F64(wait) = of[2]["lb.attempt.wait"] else { panic!("{:?}", of[2]) };
    assert!((delay.as_secs_f64()..1.0).contains(wait), "{wait}");

    // Each request that a server has got names the span of its attempt as the parent.
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (headers, span) in seen.iter().zip([second, third]) {
        let parents: Vec<_> = headers.get_all("traceparent").iter().collect();
        let context = &span.span_context;
        let expected = format!("00-{}-{}-01", context.trace_id(), context.span_id());
        assert_eq!(parents, [expected.as_str()]);
        assert!(headers.get_all("tracestate").iter().all(|state| state.is_empty()));
    }
}
