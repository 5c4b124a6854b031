//! The spans of requests and their attempts.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_lb::{
    balance::Builder,
    discover,
    failover::FailoverLayer,
    health::{HealthCheck, HealthExt, HttpCheck},
    hedge::Delay,
    http::{
        AttemptTimeoutLayer, GatewayLayer, ReplayBody, ReplayLayer, ResilienceLayer, RetryOn,
        trace::{TraceAttempts, TraceExt, TraceRequestsLayer, UrlTemplate},
    },
    strategy::RoundRobin,
};
use tower_lb_test_support::logs::{CollectedSpan, Logs};
use tracing::Span;

type Body = ReplayBody<Empty<Bytes>>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Empty<Bytes>>, BoxError>> + Send>>;

const MILLI: Duration = Duration::from_millis(1);

fn respond(status: StatusCode) -> Result<Response<Empty<Bytes>>, BoxError> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}

/// What an endpoint does, by the last number of its address.
fn answer(address: SocketAddr) -> Answer {
    let SocketAddr::V4(v4) = address else { panic!("{address}") };
    match v4.ip().octets()[3] {
        1 | 9 => Box::pin(async {
            sleep(MILLI).await;
            respond(StatusCode::OK)
        }),
        2 => Box::pin(async { respond(StatusCode::SERVICE_UNAVAILABLE) }),
        3 => Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) }),
        4 => Box::pin(pending()),
        _ => Box::pin(async { respond(StatusCode::NOT_FOUND) }),
    }
}

type Headers = Arc<Mutex<Vec<HeaderMap>>>;

/// Endpoints one after the other: a whole set would arrive in any order.
fn endpoints(last: &[u8]) -> discover::Channel<String, SocketAddr> {
    let (handle, stream) = discover::channel();
    for last in last {
        let address = SocketAddr::from(([10, 0, 0, *last], 8080));
        handle.insert(format!("e{last}"), address).unwrap();
    }
    stream
}

macro_rules! balancer {
    ($trace:expr, $last:expr, $headers:expr) => {{
        let headers = Headers::clone(&$headers);
        let connect = move |address: &SocketAddr| {
            let (address, headers) = (*address, Headers::clone(&headers));
            AttemptTimeoutLayer::new(100 * MILLI).layer(service_fn(
                move |request: Request<Body>| {
                    headers.lock().unwrap().push(request.headers().clone());
                    answer(address)
                },
            ))
        };
        let endpoints = endpoints(&$last).connect_traced($trace, connect);
        Builder::http().seed(7).spawn(RoundRobin::starting_at(0), endpoints).unwrap()
    }};
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("/users/7").body(Empty::new()).unwrap()
}

fn split(spans: &[CollectedSpan]) -> (Vec<&CollectedSpan>, Vec<&CollectedSpan>) {
    spans.iter().partition(|span| span.name == "balanced request")
}

fn resilience() -> ResilienceLayer {
    ResilienceLayer::builder().seed(7).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_loses_is_cancelled_and_no_error() {
    let (logs, _guard) = Logs::collect();
    let balancer = balancer!(TraceAttempts::new(), [4, 9], Headers::default());
    let hedge = Delay::fixed(10 * MILLI);
    let resilience = ResilienceLayer::builder().seed(7).hedge(hedge).build().unwrap();
    let service = TraceRequestsLayer::new("shop").layer(resilience.layer(balancer));
    assert_eq!(service.oneshot(request()).await.unwrap().status(), StatusCode::OK);
    let spans = logs.spans();
    let (requests, attempts) = split(&spans);
    let ([request], [first, hedge]) = (&requests[..], &attempts[..]) else { panic!("{spans:#?}") };
    assert_eq!(request.get("lb.attempts"), Some("2"));
    assert_eq!(request.get("otel.kind"), Some("internal"));
    for attempt in [first, hedge] {
        assert_eq!(attempt.parent, Some(request.id));
        assert_eq!(attempt.get("otel.kind"), Some("client"));
        assert_eq!((attempt.get("error.type"), attempt.get("otel.status_code")), (None, None));
    }
    assert_eq!(
        (first.get("lb.endpoint"), first.get("lb.outcome")),
        (Some("e4"), Some("cancelled"))
    );
    assert_eq!(first.get("http.request.resend_count"), None);
    assert_eq!((hedge.get("lb.endpoint"), hedge.get("lb.outcome")), (Some("e9"), Some("response")));
    assert_eq!(hedge.get("http.request.resend_count"), Some("1"));
    assert_eq!(hedge.get("lb.attempt.reason"), Some("hedge"));
    assert_eq!(hedge.get("lb.attempt.wait"), None);
}

#[tokio::test(start_paused = true)]
async fn spans_go_through_gateway_failover_and_retries() {
    let (logs, _guard) = Logs::collect();
    let primary = balancer!(TraceAttempts::new(), [2, 4], Headers::default());
    let fallback = balancer!(TraceAttempts::new(), [1], Headers::default());
    let failover = FailoverLayer::builder(fallback, RetryOn::http()).build().unwrap();
    let service = ServiceBuilder::new()
        .layer(GatewayLayer)
        .layer(TraceRequestsLayer::new("shop"))
        .layer(ReplayLayer::new())
        .layer(failover)
        .layer(retry())
        .service(primary);
    let response = service.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let spans = logs.spans();
    let (requests, attempts) = split(&spans);
    assert_eq!((requests.len(), attempts.len()), (1, 3), "{spans:#?}");
    assert!(attempts.iter().all(|attempt| attempt.parent == Some(requests[0].id)));
    let of = |field| attempts.iter().map(|attempt| attempt.get(field)).collect::<Vec<_>>();
    assert_eq!(of("lb.endpoint"), [Some("e2"), Some("e4"), Some("e1")]);
    assert_eq!(of("error.type"), [Some("503"), Some("timeout"), None]);
    assert_eq!(of("http.request.resend_count"), [None, Some("1"), Some("2")]);
    assert_eq!(of("lb.outcome"), [Some("response"), Some("error"), Some("response")]);
    assert_eq!(of("lb.attempt.reason"), [None, Some("overload"), Some("failover")]);
}

fn retry() -> tower_lb::retry::RetryLayer<RetryOn> {
    let backoff = tower_lb::retry::Backoff::decorrelated(MILLI, 2 * MILLI);
    let retry = tower_lb::retry::RetryLayer::builder(RetryOn::http()).attempts(2);
    retry.backoff(backoff).seed(7).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_last_error_of_a_request_is_the_cause() {
    let (logs, _guard) = Logs::collect();
    let balancer = balancer!(TraceAttempts::new(), [3], Headers::default());
    let service = TraceRequestsLayer::new("shop").layer(resilience().layer(balancer));
    service.oneshot(request()).await.unwrap_err();
    let spans = logs.spans();
    let (requests, attempts) = split(&spans);
    assert_eq!(requests[0].get("error.type"), Some("connection_refused"));
    assert_eq!(requests[0].get("otel.status_code"), Some("ERROR"));
    assert_eq!(requests[0].get("lb.outcome"), Some("error"));
    let description = attempts[0].get("otel.status_description").unwrap();
    assert!(description.contains("connection refused"), "{description}");
    let wait = attempts[1].get("lb.attempt.wait").unwrap().parse::<f64>().unwrap();
    assert!((0.0..10.0).contains(&wait), "{wait}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_no_error() {
    let (logs, _guard) = Logs::collect();
    let balancer = balancer!(TraceAttempts::new(), [4], Headers::default());
    let service = TraceRequestsLayer::new("shop").layer(resilience().layer(balancer));
    timeout(50 * MILLI, service.oneshot(request())).await.unwrap_err();
    let spans = logs.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert_eq!(span.get("lb.outcome"), Some("cancelled"), "{span:?}");
        assert_eq!((span.get("error.type"), span.get("otel.status_code")), (None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_callers_choose_is_bounded_and_escaped() {
    let (logs, _guard) = Logs::collect();
    let evil = "x\n\u{1b}[2J".repeat(3000);
    let endpoints = discover::list([(evil.clone(), SocketAddr::from(([10, 0, 0, 5], 80)).into())])
        .connect_traced(TraceAttempts::new(), |address: &SocketAddr| {
            let address = *address;
            service_fn(move |_: Request<Empty<Bytes>>| answer(address))
        });
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), endpoints).unwrap();
    let service = TraceRequestsLayer::new(evil.clone()).layer(balancer);
    let method = Method::from_bytes("ATTACK".repeat(2000).as_bytes()).unwrap();
    let uri = "http://user:secret@shop.example/users/7?token=secret";
    let request = Request::builder().method(method).uri(uri).extension(UrlTemplate::new(evil));
    service.oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    let spans = logs.spans();
    let (requests, attempts) = split(&spans);
    let attempt = attempts[0];
    assert_eq!(attempt.get("http.request.method"), Some("_OTHER"));
    assert!(attempt.get("http.request.method_original").unwrap().len() < 40);
    assert!(attempt.get("otel.name").unwrap().starts_with(r"HTTP x\n\u{1b}"));
    assert!(attempt.get("otel.name").unwrap().len() < 2000);
    assert_eq!(attempt.get("server.address"), Some("shop.example"), "the name, not the address");
    assert_eq!(attempt.get("network.peer.address"), Some("10.0.0.5"));
    assert_eq!(attempt.get("url.full"), Some("http://shop.example:80/users/7?*"));
    // A client error is one of the attempt, but the balancer did its work.
    assert_eq!(attempt.get("error.type"), Some("404"));
    assert_eq!((requests[0].get("error.type"), requests[0].get("otel.status_code")), (None, None));
    for (_, value) in spans.iter().flat_map(|span| &span.fields) {
        assert!(!value.chars().any(char::is_control), "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_propagated_and_health_checks_are_not() {
    let (logs, _guard) = Logs::collect();
    let headers = Headers::default();
    let propagate = |span: &Span, headers: &mut HeaderMap| {
        let id = span.id().unwrap().into_u64();
        headers.insert("traceparent", HeaderValue::from(id));
    };
    let trace = TraceAttempts::new().propagate(propagate);
    let seen = Headers::clone(&headers);
    let endpoints = endpoints(&[2, 9])
        .connect_traced(trace, move |address: &SocketAddr| {
            let (address, seen) = (*address, Headers::clone(&seen));
            service_fn(move |request: Request<Body>| {
                seen.lock().unwrap().push(request.headers().clone());
                answer(address)
            })
        })
        .health_checked(HealthCheck::new(HttpCheck::get("/healthz").unwrap().status(|_| true)))
        .unwrap();
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), endpoints).unwrap();
    let service = TraceRequestsLayer::new("shop").layer(resilience().layer(balancer));
    sleep(100 * MILLI).await;
    assert!(logs.spans().is_empty(), "{:#?}", logs.spans());
    assert_eq!(std::mem::take(&mut *headers.lock().unwrap()).len(), 2, "the checks");

    let mut request = request();
    request.headers_mut().insert("traceparent", HeaderValue::from_static("of the client"));
    service.oneshot(request).await.unwrap();
    let spans = logs.spans();
    let (_, attempts) = split(&spans);
    let headers = headers.lock().unwrap();
    assert_eq!((headers.len(), attempts.len()), (2, 2));
    for (headers, attempt) in headers.iter().zip(attempts) {
        let parents: Vec<_> = headers.get_all("traceparent").iter().collect();
        assert_eq!(parents, [attempt.id.to_string().as_str()]);
    }
}
