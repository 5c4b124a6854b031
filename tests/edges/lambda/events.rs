//! HTTP by way of functions: the events are those that `lambda_http` reads, the answers those that it
//! writes, and whatever goes wrong becomes a status.
use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use lambda_http::{Body, RequestExt, request::RequestContext};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, timeout::TimeoutLayer};
use tower_lb::{
    balance::Builder,
    discover,
    lambda::{
        AlbEvent, EventFormat, Function, FunctionErrorKind, FunctionName, HttpFunction, Invocation,
        Invoke, InvokeError, Invoked, Throttle, ThrottleReason, UrlEvent,
    },
    limit::{RejectReason, Rejected},
    retry::{RetrySafety, RetryableRequest},
    strategy::RoundRobin,
};

const TARGET_GROUP: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/6d0ecf831eec9f09";
const DOMAIN: &str = "abcdefgh.lambda-url.eu-west-1.on.aws";

fn event(format: &impl EventFormat, request: Request<&'static str>) -> Value {
    let (head, body) = request.into_parts();
    let event = format.encode(&head, body.as_bytes()).unwrap();
    serde_json::from_slice(&event).unwrap()
}

fn request() -> Request<&'static str> {
    Request::post("/a%20b/c?x=1%262&y&x=%20")
        .header("Host", "shop.example")
        .header("X-Mixed-Case", "first")
        .header("X-Mixed-Case", "last")
        .header("Cookie", "a=b; c=d")
        .header("Content-Type", "application/json")
        .header("X-Forwarded-For", "10.0.0.1, 192.0.2.7")
        .header("User-Agent", "curl/8")
        .body("{\"say\":\"\\\"hi\\\"\"}")
        .unwrap()
}

#[test]
fn the_load_balancers_event_is_as_documented() {
    let expected = json!({
        "requestContext": { "elb": { "targetGroupArn": TARGET_GROUP } },
        "httpMethod": "POST",
        "path": "/a%20b/c",
        "queryStringParameters": { "x": "%20", "y": "" },
        "headers": {
            "host": "shop.example",
            "x-mixed-case": "last",
            "cookie": "a=b; c=d",
            "content-type": "application/json",
            "x-forwarded-for": "10.0.0.1, 192.0.2.7",
            "user-agent": "curl/8",
        },
        "body": "{\"say\":\"\\\"hi\\\"\"}",
        "isBase64Encoded": false,
    });
    assert_eq!(event(&AlbEvent::new(TARGET_GROUP), request()), expected);
}

#[test]
fn with_multiple_values_their_members_take_the_place_of_the_single() {
    let event = event(&AlbEvent::new(TARGET_GROUP).multi_value(), request());
    assert_eq!(
        event["multiValueQueryStringParameters"],
        json!({ "x": ["1%262", "%20"], "y": [""] })
    );
    assert_eq!(event["multiValueHeaders"]["x-mixed-case"], json!(["first", "last"]));
    assert_eq!(event["multiValueHeaders"]["host"], json!(["shop.example"]));
    assert!(event.get("headers").is_none() && event.get("queryStringParameters").is_none());
}

#[test]
fn a_health_checks_event_has_an_empty_query_and_body() {
    let request =
        Request::get("/health").header("user-agent", "ELB-HealthChecker/2.0").body("").unwrap();
    let event = event(&AlbEvent::new(TARGET_GROUP), request);
    assert_eq!(event["queryStringParameters"], json!({}));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(""), &json!(false)));
}

#[test]
fn the_function_urls_event_is_as_documented() {
    let mut event = event(&UrlEvent::new(DOMAIN).account("123456789012"), request());
    let context = event["requestContext"].as_object_mut().unwrap();
    assert_eq!(context.remove("requestId").unwrap().as_str().unwrap().len(), 36);
    assert!(context.remove("time").unwrap().as_str().unwrap().ends_with(" +0000"));
    assert!(context.remove("timeEpoch").unwrap().as_u64().unwrap() > 1_600_000_000_000);
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b/c",
        "rawQueryString": "x=1%262&y&x=%20",
        "cookies": ["a=b", "c=d"],
        "headers": {
            "host": "shop.example",
            "x-mixed-case": "first,last",
            "cookie": "a=b; c=d",
            "content-type": "application/json",
            "x-forwarded-for": "10.0.0.1, 192.0.2.7",
            "user-agent": "curl/8",
        },
        "queryStringParameters": { "x": "1&2, ", "y": "" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefgh",
            "domainName": DOMAIN,
            "domainPrefix": "abcdefgh",
            "http": {
                "method": "POST",
                "path": "/a b/c",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "curl/8",
            },
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": "{\"say\":\"\\\"hi\\\"\"}",
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

/// A function written with `lambda_http`, in process: its own parser, its own serializer.
async fn lambda_http_function(
    handler: fn(lambda_http::Request) -> Response<Body>,
    event: Bytes,
) -> Bytes {
    let mut adapter = lambda_http::Adapter::from(tower::service_fn(move |request| {
        ready(Ok::<_, Infallible>(handler(request)))
    }));
    let payload = serde_json::from_slice(&event).expect("lambda_http reads the event");
    let context = lambda_runtime::Context::default();
    let event = lambda_runtime::LambdaEvent { payload, context };
    let answer = tower::Service::call(&mut adapter, event).await.unwrap();
    serde_json::to_vec(&answer).unwrap().into()
}

/// Answers with what it was sent: method, URI's path and query, headers and body.
fn echo(request: lambda_http::Request) -> Response<Body> {
    let kind = match request.request_context() {
        RequestContext::Alb(context) => {
            assert_eq!(context.elb.target_group_arn.as_deref(), Some(TARGET_GROUP));
            "alb"
        }
        RequestContext::ApiGatewayV2(context) => {
            assert_eq!(context.domain_name.as_deref(), Some(DOMAIN));
            "url"
        }
        _ => "other",
    };
    let path = request.uri().path().to_owned();
    let (head, body) = request.into_parts();
    let mut response = Response::builder().status(203).header("x-kind", kind);
    response = response.header("x-method", head.method.as_str()).header("x-path", path);
    response = response.header("set-cookie", "one=1").header("set-cookie", "two=2");
    for (name, value) in head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-a")) {
        response = response.header(name, value);
    }
    // Of another type `lambda_http` would take it for text.
    response.header("content-type", "application/octet-stream").body(body).unwrap()
}

fn formats() -> [Box<dyn Fn(&Request<Bytes>) -> (Bytes, Decode)>; 3] {
    fn of<F: EventFormat + Clone + 'static>(
        format: F,
    ) -> Box<dyn Fn(&Request<Bytes>) -> (Bytes, Decode)> {
        Box::new(move |request| {
            let (head, body) = request.clone().into_parts();
            let decoder = format.clone();
            let decode: Decode = Box::new(move |answer| decoder.decode(answer).unwrap());
            (format.encode(&head, &body).unwrap(), decode)
        })
    }
    [
        of(AlbEvent::new(TARGET_GROUP)),
        of(AlbEvent::new(TARGET_GROUP).multi_value()),
        of(UrlEvent::new(DOMAIN)),
    ]
}

type Decode = Box<dyn Fn(Bytes) -> Response<Bytes>>;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Requests of all kinds get to a function of `lambda_http` and back, by either format.
    #[test]
    fn requests_and_responses_survive(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "QUERY"]),
        path in "/([a-z0-9_~-]{1,5}/?){0,4}",
        query in prop::option::of("([a-z]{1,3}=[a-z0-9+]{0,5}&){0,4}"),
        headers in prop::collection::vec(("x-a[a-z0-9-]{0,8}", "[!-~]([ -~]{0,20}[!-~])?"), 0..6),
        kind in prop::sample::select(vec!["text/plain", "application/json", "image/png", ""]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let uri = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        let mut request = Request::builder().method(method).uri(uri).header("host", "a.example");
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::from(body.clone())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (format, kind) in formats().iter().zip(["alb", "alb", "url"]) {
            let (event, decode) = format(&request);
            let answer = runtime.block_on(lambda_http_function(echo, event));
            let response = decode(answer);
            prop_assert_eq!(response.status(), 203);
            prop_assert_eq!(&response.headers()["x-kind"], kind);
            prop_assert_eq!(&response.headers()["x-method"], method);
            prop_assert_eq!(&response.headers()["x-path"], &path);
            prop_assert_eq!(response.body().as_ref(), &body[..]);
            for (name, _) in &headers {
                let sent = request.headers().get_all(name).iter().next_back().unwrap();
                let got = response.headers().get_all(name).iter().next_back().unwrap();
                prop_assert!(got.as_bytes().ends_with(sent.as_bytes()), "{:?} of {:?}", got, sent);
            }
        }
    }
}

#[tokio::test]
async fn cookies_come_back_one_by_one_where_the_format_can() {
    let request = Request::get("/").header("host", "a").body(Bytes::new()).unwrap();
    let cookies = |headers: &HeaderMap| headers.get_all("set-cookie").iter().count();
    let mut counts = Vec::new();
    for format in formats() {
        let (event, decode) = format(&request);
        counts.push(cookies(decode(lambda_http_function(echo, event).await).headers()));
    }
    assert_eq!(counts, [1, 2, 2]);
}

/// One function, by a closure, behind HTTP.
async fn respond<I, B>(invoke: I, request: Request<B>) -> (StatusCode, HeaderMap, Bytes)
where
    I: Invoke + Clone,
    B: hyper::body::Body<Error: Into<tower::BoxError>>,
{
    let function = Function::new(invoke, "f".parse().unwrap());
    let response = HttpFunction::new(function, AlbEvent::new("")).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/").body(Full::default()).unwrap()
}

fn answering(
    answer: impl Fn() -> Result<Invoked, InvokeError> + Clone,
) -> impl Fn(&FunctionName, Invocation) -> std::future::Ready<Result<Invoked, InvokeError>> + Clone
{
    move |_, _| ready(answer())
}

#[tokio::test]
async fn what_goes_wrong_becomes_a_status() {
    let status = async |answer: fn() -> Result<Invoked, InvokeError>| {
        respond(answering(answer), get()).await.0.as_u16()
    };
    assert_eq!(status(|| Ok(Invoked::new(200, r#"{"statusCode":404}"#))).await, 404);
    assert_eq!(status(|| Ok(Invoked::new(200, "nonsense"))).await, 502);
    assert_eq!(status(|| Ok(Invoked::new(200, r#"{"statusCode":99}"#))).await, 502);
    let large = || Ok(Invoked::new(200, vec![b' '; 1024 * 1024 + 1]));
    assert_eq!(status(large).await, 502);
    let failed = || {
        let invoked = Invoked::new(200, r#"{"errorMessage":"secret"}"#);
        Ok(invoked.with_function_error(FunctionErrorKind::Unhandled))
    };
    assert_eq!(status(failed).await, 502);
    let (.., body) = respond(answering(failed), get()).await;
    assert_eq!(body, "the function failed\n", "and no more than that");
    assert_eq!(status(|| Err(InvokeError::TimedOut("late".into()))).await, 504);
    assert_eq!(status(|| Err(InvokeError::Unreachable("down".into()))).await, 502);
    assert_eq!(status(|| Err(InvokeError::TooLarge { bytes: 2, limit: 1 })).await, 413);
}

#[tokio::test]
async fn a_throttle_becomes_503_and_says_when_to_come_back() {
    let throttled = || {
        let delay = Some(Duration::from_millis(1200));
        Err(InvokeError::Throttled(Throttle::new(ThrottleReason::CallerRate, delay)))
    };
    let (status, headers, _) = respond(answering(throttled), get()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers[header::RETRY_AFTER], "2");
}

#[tokio::test]
async fn a_rejection_by_a_rate_limit_becomes_429_and_by_others_503() {
    let rate = RejectReason::Rate { retry_after: Duration::from_millis(1200) };
    for (reason, expected, retry_after) in [
        (rate, StatusCode::TOO_MANY_REQUESTS, "2"),
        (RejectReason::QueueFull { limit: 1 }, StatusCode::SERVICE_UNAVAILABLE, "1"),
    ] {
        let rejected = move |_: Invocation| ready(Err::<Invoked, _>(Rejected::new("a", reason)));
        let limited = tower::service_fn(rejected);
        let response = HttpFunction::new(limited, AlbEvent::new("")).oneshot(get()).await.unwrap();
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers()[header::RETRY_AFTER], retry_after);
    }
}

#[tokio::test]
async fn when_an_invocation_may_be_sent_again_is_for_the_caller_to_say() {
    for (said, expected) in [
        (None, RetrySafety::Idempotent),
        (Some(RetrySafety::Never), RetrySafety::Never),
        (Some(RetrySafety::IfUnsent), RetrySafety::IfUnsent),
    ] {
        let invoke = move |_: &FunctionName, invocation: Invocation| {
            assert_eq!(invocation.retry_safety(), expected);
            ready(Ok(Invoked::new(200, r#"{"statusCode":200}"#)))
        };
        let mut request = get();
        said.map(|retry_safety| request.extensions_mut().insert(retry_safety));
        // An offer of HTTP/2, as curl makes it, upgrades no invocation.
        request.headers_mut().insert(header::UPGRADE, "h2c".parse().unwrap());
        assert_eq!(respond(invoke, request).await.0, StatusCode::OK);
    }
}

#[test]
fn many_values_of_a_query_parameter_are_joined_in_one_go() {
    const VALUES: usize = 16_000;
    let query = vec!["x=1"; VALUES].join("&");
    let (head, ()) = Request::get(format!("/?{query}")).body(()).unwrap().into_parts();
    let format = UrlEvent::new(DOMAIN);
    let cost = allocation_counter::measure(|| _ = format.encode(&head, &[]).unwrap());
    // A copy for each value is 256 MB.
    assert!(cost.bytes_total < 2_000_000, "{} bytes", cost.bytes_total);
}

#[tokio::test]
async fn header_injection_is_a_malformed_answer() {
    let answer =
        || Ok(Invoked::new(200, r#"{"statusCode":200,"headers":{"a":"b\r\nset-cookie: c=d"}}"#));
    let (status, headers, _) = respond(answering(answer), get()).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(!headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn bodies_that_are_too_large_are_not_read_to_the_end() {
    let ok = answering(|| Ok(Invoked::new(200, r#"{"statusCode":200}"#)));
    const LIMIT: usize = 1024 * 1024;
    let post = |body: Full<Bytes>| Request::post("/").body(body).unwrap();
    let (status, ..) = respond(ok.clone(), post(Full::from(vec![b'a'; LIMIT]))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, ..) = respond(ok.clone(), post(Full::from(vec![b'a'; LIMIT + 1]))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // A stream without an end and without a length.
    let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; 65_536])));
    let endless = StreamBody::new(futures::stream::repeat_with(piece));
    let (status, ..) = respond(ok, Request::post("/").body(endless).unwrap()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_is_sent_whole_in_whatever_pieces_it_arrives() {
    let echo = |_: &FunctionName, invocation: Invocation| {
        let event: Value = serde_json::from_slice(&invocation.into_payload()).unwrap();
        assert_eq!(event["isBase64Encoded"], false);
        ready(Ok(Invoked::new(
            200,
            json!({ "statusCode": 200, "body": event["body"] }).to_string(),
        )))
    };
    let data = |text: &'static str| Ok::<_, Infallible>(Frame::data(Bytes::from(text)));
    // A character of two bytes is cut in two.
    let [first, second] =
        [&b"gr\xc3"[..], &b"\xbcn"[..]].map(|piece| Ok(Frame::data(piece.into())));
    let frames = [data("a "), first, second, data(""), Ok(Frame::trailers(HeaderMap::new()))];
    let request = Request::post("/").header(header::CONTENT_TYPE, "text/plain");
    let request = request.body(StreamBody::new(futures::stream::iter(frames))).unwrap();
    assert_eq!(respond(echo, request).await.2, "a gr\u{fc}n");
}

#[tokio::test]
async fn a_request_that_breaks_off_invokes_nothing() {
    let never = answering(|| unreachable!());
    let broken = futures::stream::iter([
        Ok(Frame::data(Bytes::from("a"))),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let request = Request::post("/").body(StreamBody::new(broken)).unwrap();
    assert_eq!(respond(never.clone(), request).await.0, StatusCode::BAD_REQUEST);
    let mut upgrade = get();
    upgrade.headers_mut().insert(header::UPGRADE, "WebSocket".parse().unwrap());
    assert_eq!(respond(never, upgrade).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_of_functions_serves_http() {
    type Answer = Pin<Box<dyn Future<Output = Result<Invoked, InvokeError>> + Send>>;
    let invoke = |name: &FunctionName, invocation: Invocation| -> Answer {
        assert!(invocation.is_idempotent());
        if name.name() == "hangs" {
            return Box::pin(pending());
        }
        let body = json!({ "statusCode": 200, "body": name.name() });
        Box::pin(ready(Ok(Invoked::new(200, body.to_string()))))
    };
    let function = |name: &'static str| {
        let function = Function::new(invoke, name.parse().unwrap());
        (name, TimeoutLayer::new(Duration::from_secs(3)).layer(function).into())
    };
    let functions = discover::list(["one", "two", "hangs"].map(function));
    let strategy = RoundRobin::starting_at(0);
    let balancer = Builder::lambda().spawn(strategy, functions).unwrap();
    let http = HttpFunction::new(balancer.clone(), AlbEvent::new(TARGET_GROUP));
    let mut answers = Vec::new();
    for _ in 0..3 {
        let response = http.clone().oneshot(get()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        answers.push((status, String::from_utf8(body.to_vec()).unwrap()));
    }
    assert_eq!(answers[0], (200, "one".into()));
    assert_eq!(answers[1], (200, "two".into()));
    assert_eq!(answers[2].0, 504);
    let timeouts: u64 =
        balancer.status().endpoints.iter().map(|endpoint| endpoint.outcomes.timeout).sum();
    assert_eq!(timeouts, 1);
}
