//! Real functions, in processes of their own, by the AWS SDK: on a Lambda of our own (the shim).
use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::process::Command;
use tower::ServiceExt;
use tower_lb::{
    Balancer,
    balance::Builder,
    discover::{self, DiscoverExt, Schedule},
    endpoint::{Endpoint, Locality},
    health::Check,
    lambda::{
        AlbEvent, DryRun, EventCheck, EventFormat, Execution, Function, FunctionErrorKind,
        FunctionName, HttpFunction, Invocation, InvocationType, InvokeError, Invoked, Qualifier,
        Remedy, RetryAdvice, ThrottleReason, Throttles, UntilResponse, UntilStreamEnd, UrlEvent,
        WarmUp,
        aws::{AliasVersions, Provisioned, Sdk},
    },
    strategy::RoundRobin,
};
use tower_lb_test_functions::{Alias, Fault, Shim, client, functions};

const REGION: &str = "eu-west-1";

/// Not a test: what a function's process runs.
#[test]
fn function_process() {
    if functions::is_function() {
        functions::run().unwrap();
    }
}

/// This very program, as a function.
fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&crate::test_path(module_path!(), "function_process"), "--exact", "--nocapture"]);
    command
}

async fn shim() -> Shim {
    let shim = Shim::start(command).await.unwrap();
    shim.publish(REGION, "f", "obey");
    shim
}

fn function(shim: &Shim, name: &str) -> Function<Sdk> {
    Function::new(Sdk::new(shim.client(REGION)), name.parse().unwrap())
}

async fn invoke(function: Function<Sdk>, event: Value) -> Result<Invoked, InvokeError> {
    function.oneshot(Invocation::new(event.to_string())).await
}

fn json(payload: &Bytes) -> Value {
    serde_json::from_slice(payload).unwrap()
}

#[tokio::test]
async fn an_answer_tells_who_gave_it() {
    let shim = shim().await;
    let invocation = Invocation::from(r#"{"a":1}"#)
        .with_log_tail()
        .with_client_context(r#"{"custom":{"key":"value"}}"#);
    let invoked = function(&shim, "f:1").oneshot(invocation).await.unwrap();
    assert_eq!((invoked.status(), invoked.function_error()), (200, None));
    assert_eq!(invoked.executed_version(), Some(&Qualifier::Version(1)));
    assert_eq!(invoked.request_id().unwrap().len(), 16);
    assert!(invoked.log_tail().unwrap().starts_with("START RequestId: "));
    let said = json(invoked.payload());
    assert_eq!((&said["event"], &said["version"]), (&json!({ "a": 1 }), &json!("1")));
    assert_eq!(said["arn"], "arn:aws:lambda:eu-west-1:123456789012:function:f:1");
    assert_eq!(said["client"], json!({ "key": "value" }));
    // The process goes on to the next invocation.
    let again = invoke(function(&shim, "f:1"), json!({})).await.unwrap();
    assert_eq!(json(again.payload())["process"], said["process"]);
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    let latest = invoke(function(&shim, arn), json!({})).await.unwrap();
    assert_eq!(latest.executed_version(), Some(&Qualifier::Latest));
}

#[tokio::test]
async fn a_function_that_fails_is_no_error_of_the_service() {
    let shim = shim().await;
    shim.with(REGION, "f", |f| f.timeout = Duration::from_secs(1));
    for (event, kind, message) in [
        (json!({ "fail": "no luck" }), None, "no luck"),
        (json!({ "exit": 3 }), Some("Runtime.ExitError"), "exit status: 3"),
        (json!({ "sleep": 5000 }), Some("Sandbox.Timedout"), "Task timed out after 1.00 seconds"),
    ] {
        let invoked = invoke(function(&shim, "f:1"), event).await.unwrap();
        let error = invoked.function_error().unwrap();
        assert_eq!(error.kind(), FunctionErrorKind::Unhandled);
        assert_eq!(error.message(), Some(message));
        assert!(kind.is_none_or(|kind| error.error_type() == Some(kind)), "{error}");
        assert_eq!(RetryAdvice::of(&invoked).unwrap().execution(), Execution::Ran);
        let after = invoke(function(&shim, "f:1"), json!({})).await.unwrap();
        assert!(!after.is_function_error(), "and the next one succeeds");
    }
}

#[tokio::test]
async fn events_and_dry_runs_wait_for_nothing() {
    let shim = shim().await;
    let invocation = Invocation::from(r#"{"sleep":60000}"#);
    let status = async |kind| {
        let invocation = invocation.clone().with_type(kind);
        function(&shim, "f").oneshot(invocation).await.unwrap().status()
    };
    assert_eq!(status(InvocationType::Event).await, 202);
    assert_eq!(status(InvocationType::DryRun).await, 204);
}

#[tokio::test]
async fn the_services_errors_are_told_apart() {
    let shim = shim().await;
    let error = async |name: &str, event: &'static str| {
        function(&shim, name).oneshot(event.into()).await.unwrap_err()
    };
    for (name, event, status, code) in [
        ("missing", "{}", 404, "ResourceNotFoundException"),
        ("f:9", "{}", 404, "ResourceNotFoundException"),
        ("f", "{", 400, "InvalidRequestContentException"),
    ] {
        let InvokeError::Service(refusal) = error(name, event).await else { panic!("{name}") };
        assert_eq!((refusal.status(), refusal.code()), (status, code));
    }
    for (status, code, remedy) in [
        (500, "ServiceException", Remedy::Elsewhere),
        (502, "KMSDisabledException", Remedy::Elsewhere),
        (415, "UnsupportedMediaTypeException", Remedy::Nothing),
    ] {
        shim.with(REGION, "f", |f| f.fault = Some(Fault::Exception { status, code }));
        let refused = error("f", "{}").await;
        assert_eq!(RetryAdvice::of_error(&refused).remedy(), remedy, "{refused}");
        let InvokeError::Service(refusal) = refused else { panic!("{code}") };
        assert_eq!((refusal.status(), refusal.code()), (status, code));
    }
    shim.with(REGION, "f", |f| f.fault = Some(Fault::Cut));
    assert!(matches!(error("f", "{}").await, InvokeError::Interrupted(_)));
    shim.with(REGION, "f", |f| f.fault = None);
    assert!(function(&shim, "f").oneshot("{}".into()).await.is_ok());

    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = Sdk::new(client(&format!("http://{dead}"), REGION));
    let error = Function::new(dead, "f".parse().unwrap()).oneshot("{}".into()).await.unwrap_err();
    assert!(matches!(error, InvokeError::Unreachable(_)), "{error:?}");
    assert!(RetryAdvice::of_error(&error).may_retry(false));
}

#[tokio::test]
async fn an_answer_that_is_late_may_have_been_worked_on() {
    let shim = shim().await;
    shim.with(REGION, "f", |f| f.fault = Some(Fault::Delay(Duration::from_secs(60))));
    let client = shim.client(REGION);
    let timeouts = client.config().timeout_config().unwrap().to_builder();
    let timeouts = timeouts.operation_timeout(Duration::from_millis(200)).build();
    let config = client.config().to_builder().timeout_config(timeouts).build();
    let sdk = Sdk::new(aws_sdk_lambda::Client::from_conf(config));
    let error = Function::new(sdk, "f".parse().unwrap()).oneshot("{}".into()).await.unwrap_err();
    assert!(matches!(error, InvokeError::TimedOut(_)), "{error:?}");
    assert!(!RetryAdvice::of_error(&error).may_retry(false));
}

#[tokio::test]
async fn every_throttle_says_why() {
    let shim = shim().await;
    for (reason, expected) in [
        ("CallerRateLimitExceeded", ThrottleReason::CallerRate),
        ("ConcurrentInvocationLimitExceeded", ThrottleReason::ConcurrentInvocations),
        ("FunctionInvocationRateLimitExceeded", ThrottleReason::FunctionInvocationRate),
        ("SomethingNew", ThrottleReason::Unknown),
    ] {
        let fault = Fault::Throttle { reason, retry_after: Some(3) };
        shim.with(REGION, "f", |f| f.fault = Some(fault));
        let error = invoke(function(&shim, "f"), json!({})).await.unwrap_err();
        let InvokeError::Throttled(throttle) = error else { panic!("{error}") };
        assert_eq!(throttle.reason(), expected);
        assert_eq!(throttle.retry_after(), Some(Duration::from_secs(3)));
    }
}

#[tokio::test]
async fn reserved_concurrency_is_reached_by_real_requests() {
    let shim = shim().await;
    shim.with(REGION, "f", |f| f.reserved = Some(2));
    let six = (0..6).map(|_| invoke(function(&shim, "f"), json!({ "sleep": 500 })));
    let answers = futures::future::join_all(six).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    for error in answers.into_iter().filter_map(Result::err) {
        let InvokeError::Throttled(throttle) = error else { panic!("{error}") };
        assert_eq!(throttle.reason(), ThrottleReason::ReservedFunctionConcurrentInvocations);
    }
}

#[tokio::test]
async fn a_weighted_alias_runs_both_of_its_versions() {
    let shim = shim().await;
    shim.publish(REGION, "f", "obey");
    shim.alias(REGION, "f", "live", Alias { version: 1, additional: Some((2, 0.5)) });
    let mut versions = BTreeMap::<_, u32>::new();
    for _ in 0..40 {
        let invoked = invoke(function(&shim, "f:live"), json!({})).await.unwrap();
        *versions.entry(invoked.executed_version().cloned()).or_default() += 1;
    }
    // One of 40 coins all falling on a side: once in 5 x 10^11.
    assert_eq!(versions.len(), 2);
}

async fn streamed(shim: &Shim, event: Value) -> (Vec<String>, Option<InvokeError>) {
    let functions = discover::list([("s", function(shim, "s").streaming().into())]);
    let balancer =
        Balancer::builder().track(UntilStreamEnd).spawn(RoundRobin::new(), functions).unwrap();
    let invocation = Invocation::new(event.to_string());
    let mut body = balancer.clone().oneshot(invocation).await.unwrap().into_body();
    assert_eq!(balancer.status().endpoints[0].outstanding, 1, "until its end");
    let (mut pieces, mut failed) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => pieces.push(String::from_utf8(frame.into_data().unwrap().into()).unwrap()),
            Err(error) => failed = Some(error),
        }
    }
    let status = &balancer.status().endpoints[0];
    assert_eq!(status.outstanding, 0);
    assert_eq!(status.outcomes.application, u64::from(failed.is_some()));
    (pieces, failed)
}

#[tokio::test]
async fn answers_are_streamed_and_may_fail_in_the_middle() {
    let shim = shim().await;
    shim.publish(REGION, "s", "stream");
    let (pieces, failed) = streamed(&shim, json!({ "pieces": ["a", "b", "c"] })).await;
    // What comes first is the prelude that `lambda_runtime` writes for function URLs.
    assert!(pieces.concat().ends_with("\0abc"), "{pieces:?}");
    assert!(pieces.len() > 2 && failed.is_none(), "{pieces:?} {failed:?}");
    let (pieces, failed) = streamed(&shim, json!({ "pieces": ["a", "b"], "fail": true })).await;
    assert!(pieces.concat().ends_with("\0ab"), "{pieces:?}");
    assert!(matches!(failed, Some(InvokeError::FunctionFailed(_))), "{failed:?}");
    // One that does not stream, invoked so all the same.
    let plain = function(&shim, "f").streaming().oneshot(r#"{"fail":"early"}"#.into()).await;
    let error = plain.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!(RetryAdvice::of_error(&error).execution(), Execution::Ran);
}

#[tokio::test]
async fn functions_written_with_lambda_http_serve_http_by_any_event() {
    let shim = shim().await;
    shim.publish(REGION, "site", "http");
    let site = || function(&shim, "site");
    serve(HttpFunction::new(site(), AlbEvent::new("arn:of:target-group")), 1).await;
    serve(HttpFunction::new(site(), AlbEvent::new("arn:of:target-group").multi_value()), 2).await;
    serve(HttpFunction::new(site(), UrlEvent::new("abc.lambda-url.eu-west-1.on.aws")), 2).await;
}

#[tokio::test]
async fn http_responses_are_streamed_as_they_are_written() {
    let shim = shim().await;
    shim.publish(REGION, "slow", "http-stream");
    let site = |name| {
        let function = function(&shim, name).streaming();
        HttpFunction::new(function, UrlEvent::new("abc.lambda-url.eu-west-1.on.aws"))
    };
    let get = || Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let response = site("slow").oneshot(get()).await.unwrap();
    assert_eq!(response.status(), 206);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one ", "and not all at once");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two three");
    // A function that does not write such an answer.
    assert_eq!(site("f").oneshot(get()).await.unwrap().status(), 502);
}

async fn serve<F: EventFormat>(http: HttpFunction<Function<Sdk>, F>, cookies: usize) {
    let send = async |request: http::request::Builder, body: &'static [u8]| {
        let request = request.body(Full::<Bytes>::from(body)).unwrap();
        let (head, body) = http.clone().oneshot(request).await.unwrap().into_parts();
        (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
    };
    let (status, headers, body) = send(Request::get("/hello?name=Ada%26Co"), b"").await;
    assert_eq!((status, &body[..]), (200, &b"hello Ada&Co\n"[..]));
    assert_eq!(headers["x-version"], "$LATEST");
    let image = [0x89, b'P', b'N', b'G', 0, 255];
    let request = Request::post("/echo").header("content-type", "image/png");
    let (_, headers, body) = send(request, &[0x89, b'P', b'N', b'G', 0, 255]).await;
    assert_eq!((&body[..], headers["content-type"].to_str().unwrap()), (&image[..], "image/png"));
    let request = Request::post("/echo").header("content-type", "application/json");
    assert_eq!(send(request, "{\"é\":1}".as_bytes()).await.2, "{\"é\":1}");
    assert_eq!(send(Request::get("/binary"), b"").await.2, &[0, 255, 1, 254][..]);
    let (_, headers, _) = send(Request::get("/cookies"), b"").await;
    assert_eq!(headers.get_all("set-cookie").iter().count(), cookies);
    assert_eq!(send(Request::get("/nowhere"), b"").await.0, 404);
    assert_eq!(send(Request::get("/fail"), b"").await.0, 502);
    assert_eq!(send(Request::get("/crash"), b"").await.0, 502);
    assert_eq!(send(Request::get("/hello"), b"").await.0, 200);
}

/// Counts warnings.
struct Warnings(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("tower_lb") {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_client_that_may_retry_is_warned_about() {
    use aws_sdk_lambda::{Client, config::retry::RetryConfig};
    let warnings = |retries: RetryConfig| {
        let mut config = client("http://127.0.0.1:1", REGION).config().to_builder();
        config.set_retry_config(Some(retries));
        let counter = std::sync::Arc::default();
        let subscriber = Warnings(std::sync::Arc::clone(&counter));
        tracing::subscriber::with_default(subscriber, || {
            let _ = Sdk::new(Client::from_conf(config.build()));
        });
        counter.load(std::sync::atomic::Ordering::SeqCst)
    };
    assert_eq!(warnings(RetryConfig::disabled()), 0);
    assert_eq!(warnings(RetryConfig::standard()), 1);
}

/// How often each version ran in so many invocations.
async fn versions<S>(balancer: &S, invocations: u32) -> [u32; 2]
where
    S: tower::Service<Invocation, Response = Invoked, Error: std::fmt::Debug> + Clone,
{
    let mut counts = [0; 2];
    for _ in 0..invocations {
        let invoked = balancer.clone().oneshot("{}".into()).await.unwrap();
        match invoked.executed_version() {
            Some(&Qualifier::Version(version)) => counts[version as usize - 1] += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

fn often() -> Schedule {
    Schedule::new().interval(Duration::from_secs(1)).jitter(0.0)
}

#[tokio::test]
async fn an_aliases_versions_get_exactly_their_shares_and_shifts_are_followed() {
    let shim = shim().await;
    shim.publish(REGION, "f", "obey");
    let shift = |additional| shim.alias(REGION, "f", "live", Alias { version: 1, additional });
    shift(Some((2, 0.05)));
    let client = shim.client(REGION);
    let alias = AliasVersions::new(client.clone(), "f:live".parse().unwrap()).unwrap();
    let functions =
        alias.schedule(often()).endpoints().unwrap().connect(Function::connector(Sdk::new(client)));
    let balancer = Builder::lambda().spawn(RoundRobin::starting_at(0), functions).unwrap();
    assert_eq!(versions(&balancer, 100).await, [95, 5], "not a coin toss");
    let settled = Duration::from_millis(1500);
    shift(Some((2, 0.5)));
    tokio::time::sleep(settled).await;
    assert_eq!(versions(&balancer, 50).await, [25, 25]);
    // The control plane fails: what was known last holds.
    shim.with(REGION, "f", |f| f.forget_alias("live"));
    tokio::time::sleep(settled).await;
    assert_eq!(versions(&balancer, 50).await, [25, 25]);
    assert!(balancer.status().driver.errors > 0);
    shim.alias(REGION, "f", "live", Alias { version: 2, additional: None });
    tokio::time::sleep(2 * settled).await;
    assert_eq!(versions(&balancer, 50).await, [0, 50]);
}

#[tokio::test]
async fn weights_follow_the_concurrency_that_is_provisioned() {
    let shim = shim().await;
    shim.publish(REGION, "g", "obey");
    shim.with(REGION, "f", |f| f.provisioned = Some((3, 3)));
    let client = shim.client(REGION);
    let names = ["f:1", "g:1"].map(|name| (client.clone(), name.parse().unwrap()));
    let functions = Provisioned::new(names).unwrap().schedule(often()).rate(100).unwrap();
    let functions = functions.endpoints().unwrap();
    let functions = functions.connect(Function::connector(Sdk::new(client.clone())));
    let balancer = Balancer::spawn(RoundRobin::new(), functions);
    balancer.clone().oneshot("{}".into()).await.unwrap();
    let seen = || -> Vec<_> {
        let mut endpoints = balancer.status().endpoints;
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
            .into_iter()
            .map(|of| (of.attributes.weight(), of.attributes.health().to_string()))
            .collect()
    };
    assert_eq!(seen(), [(3, "healthy".into()), (1, "healthy".into())]);
    shim.with(REGION, "f", |f| f.provisioned = Some((2, 10)));
    shim.with(REGION, "g", |g| g.provisioned = Some((0, 5)));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let [f, g] =
        ["2 of 10", "0 of 5"].map(|what| format!("degraded: {what} environments provisioned"));
    assert_eq!(seen(), [(2, f), (1, g)]);
    for name in ["f", "f:$LATEST"] {
        assert!(Provisioned::new([(client.clone(), name.parse().unwrap())]).is_err());
    }
}

#[tokio::test]
async fn functions_that_know_load_balancers_pass_their_checks() {
    let shim = shim().await;
    shim.publish(REGION, "site", "http");
    let check = async |path: &str, name: &str| {
        let check = EventCheck::get(AlbEvent::new("arn").multi_value(), path.parse().unwrap());
        check.check(function(&shim, name)).await.map_err(|error| error.to_string())
    };
    assert_eq!(check("/hello", "site").await, Ok(()));
    assert_eq!(
        check("/nowhere", "site").await,
        Err("the function responded with status 404 Not Found".into())
    );
    assert!(check("/fail", "site").await.unwrap_err().contains("the site is down"));
    assert_eq!(DryRun.check(function(&shim, "site")).await.map_err(drop), Ok(()));
    assert!(DryRun.check(function(&shim, "missing")).await.is_err());

    // Two environments, because both invocations take a moment.
    let warm_up = WarmUp::event(r#"{"sleep":200}"#).environments(2).unwrap();
    warm_up.check(function(&shim, "f")).await.unwrap();
    assert_eq!(shim.with(REGION, "f", |f| f.cold_starts), 2);
    warm_up.check(function(&shim, "f")).await.unwrap();
    assert_eq!(shim.with(REGION, "f", |f| (f.cold_starts, f.invocations)), (2, 4));
}

#[tokio::test]
async fn only_aliases_have_versions() {
    for name in ["f", "f:1", "f:$LATEST"] {
        let client = client("http://127.0.0.1:1", REGION);
        let error = AliasVersions::new(client, name.parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains(name));
    }
}

/// Two regions; one is exhausted in the middle of it, and comes back.
#[tokio::test]
async fn a_region_that_is_exhausted_costs_one_request() {
    let shim = Shim::start(command).await.unwrap();
    let regions = [REGION, "us-east-1"];
    regions.iter().for_each(|region| _ = shim.publish(region, "f", "obey"));
    let throttles = Throttles::new();
    let endpoint = |&region: &&'static str| {
        (region, Endpoint::new(region).with_locality(Locality::new(region, "")))
    };
    let clients: BTreeMap<_, _> =
        regions.iter().map(|&region| (region, Sdk::new(shim.client(region)))).collect();
    let name: FunctionName = "f".parse().unwrap();
    let functions = discover::list(regions.iter().map(endpoint).collect::<Vec<_>>())
        .connect(move |region| Function::new(clients[region].clone(), name.clone()));
    let balancer = Builder::lambda()
        .track(throttles.track(UntilResponse))
        .spawn(throttles.avoid_throttled(RoundRobin::new()), functions)
        .unwrap();
    let failures = async |requests| {
        let mut failures = 0;
        for _ in 0..requests {
            failures += u32::from(balancer.clone().oneshot("{}".into()).await.is_err());
        }
        failures
    };
    assert_eq!(failures(10).await, 0);
    let reason = "ConcurrentInvocationLimitExceeded";
    shim.region_fault(REGION, Some(Fault::Throttle { reason, retry_after: None }));
    assert_eq!(failures(20).await, 1);
    shim.region_fault(REGION, None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = shim.with(REGION, "f", |f| f.invocations);
    assert_eq!(failures(10).await, 0);
    assert!(shim.with(REGION, "f", |f| f.invocations) > before, "it is used again");
}
