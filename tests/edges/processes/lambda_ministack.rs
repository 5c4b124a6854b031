//! An end to end against MiniStack, an emulator of AWS by others: functions deployed through the API,
//! real throttles, two regions, and its own Application Load Balancer beside our events.
//!
//! `.ci/ministack` installs and starts it, and runs these tests; without one they pass over themselves.
use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use aws_sdk_lambda::{
    Client,
    primitives::Blob,
    types::{FunctionCode, Runtime},
};
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_lb::{
    Balancer,
    balance::Builder,
    discover::{DiscoverExt, Update},
    http::{Origin, Pool},
    lambda::{
        self as lb, AlbEvent, Function, HttpFunction, Invocation, InvocationType, InvokeError,
        Qualifier, ThrottleReason, Throttles, UntilResponse,
        aws::{AliasVersions, FunctionSearch, Sdk},
    },
    strategy::RoundRobin,
};
use tower_lb_test_functions::{client, functions};

const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// Not a test: what a function's process runs.
#[test]
fn function_process() {
    if functions::is_function() {
        functions::run().unwrap();
    }
}

fn endpoint() -> Option<String> {
    let endpoint = std::env::var("MINISTACK_ENDPOINT").ok();
    if endpoint.is_none() {
        eprintln!("MINISTACK_ENDPOINT is not set: skipped; see .ci/ministack");
    }
    endpoint
}

/// A zip archive with one executable file, stored.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let crc = tower_lb_test_functions::event_stream::crc32(content).to_le_bytes();
    let len = (content.len() as u32).to_le_bytes();
    let name_len = (name.len() as u16).to_le_bytes();
    // Versions, flags, method, time and date: none of it matters.
    let common = [&[0; 8][..], &crc, &len, &len, &name_len, &[0; 2]].concat();
    let local = [b"PK\x03\x04\x0a\x00", &common[..], name.as_bytes(), content].concat();
    let mode = std::fs::Permissions::from_mode(0o100_755).mode() << 16;
    let central = [
        b"PK\x01\x02\x0a\x03\x0a\x00",
        &common[..],
        &[0; 6],
        &mode.to_le_bytes(),
        &[0; 4],
        name.as_bytes(),
    ]
    .concat();
    let [size, offset] = [central.len(), local.len()].map(|len| (len as u32).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &size[..], &offset, &[0; 2]].concat();
    [local, central, end].concat()
}

/// Deploys this very program as a function, published as versions 1 and 2.
async fn deploy(client: &Client, name: &str, handler: &str) {
    let program = std::env::current_exe().unwrap();
    let test = crate::test_path(module_path!(), "function_process");
    let bootstrap = format!("#!/bin/sh\nexec {} {test} --exact --nocapture\n", program.display());
    let code = Blob::new(zip("bootstrap", bootstrap.as_bytes()));
    let _ = client.delete_function().function_name(name).send().await;
    client
        .create_function()
        .function_name(name)
        .runtime(Runtime::Providedal2023)
        .handler(handler)
        .role("arn:aws:iam::000000000000:role/r")
        .timeout(10)
        .code(FunctionCode::builder().zip_file(code).build())
        .publish(true)
        .send()
        .await
        .unwrap();
    let changed = client.update_function_configuration().function_name(name).description("again");
    changed.send().await.unwrap();
    client.publish_version().function_name(name).send().await.unwrap();
}

async fn reserve(client: &Client, name: &str, concurrency: Option<i32>) {
    match concurrency {
        Some(concurrency) => {
            let put = client.put_function_concurrency().function_name(name);
            put.reserved_concurrent_executions(concurrency).send().await.map(drop).unwrap();
        }
        None => {
            let delete = client.delete_function_concurrency().function_name(name);
            delete.send().await.map(drop).unwrap();
        }
    }
}

#[tokio::test]
async fn functions_are_invoked_by_name_version_and_alias() {
    let Some(endpoint) = endpoint() else { return };
    let client = client(&endpoint, REGIONS[0]);
    deploy(&client, "e2e-invoke", "obey").await;
    let alias = client.create_alias().function_name("e2e-invoke").name("live");
    alias.function_version("2").send().await.unwrap();
    let call = async |name: &str, invocation: Invocation| {
        Function::new(Sdk::new(client.clone()), name.parse().unwrap()).oneshot(invocation).await
    };
    let invoked = call("e2e-invoke:live", r#"{"a":1}"#.into()).await.unwrap();
    assert_eq!(invoked.executed_version(), Some(&Qualifier::Version(2)));
    let said: Value = serde_json::from_slice(invoked.payload()).unwrap();
    assert_eq!(said["event"], json!({ "a": 1 }));
    let failed = call("e2e-invoke", r#"{"fail":"no luck"}"#.into()).await.unwrap();
    assert_eq!(failed.function_error().unwrap().message(), Some("no luck"));
    assert!(call("e2e-invoke", r#"{"exit":3}"#.into()).await.unwrap().is_function_error());
    for (kind, status) in [(InvocationType::Event, 202), (InvocationType::DryRun, 204)] {
        let invocation = Invocation::from("{}").with_type(kind);
        assert_eq!(call("e2e-invoke", invocation).await.unwrap().status(), status);
    }
    let Err(InvokeError::Service(refusal)) = call("e2e-missing", "{}".into()).await else {
        panic!("a function that is not there")
    };
    assert_eq!((refusal.status(), refusal.code()), (404, "ResourceNotFoundException"));

    let versions = AliasVersions::new(client.clone(), "e2e-invoke:live".parse().unwrap()).unwrap();
    let versions = versions.endpoints().unwrap();
    let versions = versions.connect(Function::connector(Sdk::new(client.clone())));
    let balancer = Balancer::spawn(RoundRobin::new(), versions);
    let invoked = balancer.oneshot("{}".into()).await.unwrap();
    assert_eq!(invoked.executed_version(), Some(&Qualifier::Version(2)));
}

#[tokio::test]
async fn functions_are_found_by_prefix_and_tags() {
    let Some(endpoint) = endpoint() else { return };
    let client = client(&endpoint, REGIONS[1]);
    for (name, stage) in [("e2e-find-a", "live"), ("e2e-find-b", "test"), ("e2e-other", "live")] {
        deploy(&client, name, "obey").await;
        let arn = format!("arn:aws:lambda:{}:000000000000:function:{name}", REGIONS[1]);
        client.tag_resource().resource(arn).tags("stage", stage).send().await.unwrap();
    }
    let search = FunctionSearch::new(client.clone()).prefix("e2e-find-").rate(100).unwrap();
    let found = async |search: FunctionSearch| -> Vec<_> {
        let mut source = search.endpoints().unwrap();
        let Some(Ok(Update::Reset(all))) = source.next().await else { panic!("no functions") };
        all.into_iter().map(|(name, _)| name.name().to_owned()).collect()
    };
    assert_eq!(found(search.clone()).await, ["e2e-find-a", "e2e-find-b"]);
    assert_eq!(found(search.clone().tag("stage", "live")).await, ["e2e-find-a"]);

    let live = search.tag("stage", "live").endpoints().unwrap();
    let live = live.connect(Function::connector(Sdk::new(client)));
    let invoked = Balancer::spawn(RoundRobin::new(), live).oneshot("{}".into()).await.unwrap();
    assert_eq!(invoked.status(), 200);
}

#[tokio::test]
async fn a_region_whose_function_is_throttled_is_left_and_come_back_to() {
    let Some(endpoint) = endpoint() else { return };
    let clients = REGIONS.map(|region| client(&endpoint, region));
    for client in &clients {
        deploy(client, "e2e-regions", "obey").await;
    }
    let throttles = Throttles::new();
    let functions = lb::functions([
        "arn:aws:lambda:us-east-1:000000000000:function:e2e-regions",
        "arn:aws:lambda:eu-west-1:000000000000:function:e2e-regions",
    ]);
    let sdks = clients.clone().map(Sdk::new);
    let functions = functions.unwrap().connect(move |name: &lb::FunctionName| {
        let index = usize::from(name.region() == Some(REGIONS[1]));
        Function::new(sdks[index].clone(), name.clone())
    });
    let balancer = Builder::lambda()
        .track(throttles.track(UntilResponse))
        .spawn(throttles.avoid_throttled(RoundRobin::new()), functions)
        .unwrap();
    let call = async || balancer.clone().oneshot("{}".into()).await;
    for _ in 0..4 {
        call().await.unwrap();
    }
    reserve(&clients[0], "e2e-regions", Some(0)).await;
    let mut failed = 0;
    for _ in 0..20 {
        if let Err(error) = call().await {
            let Some(InvokeError::Throttled(throttle)) = InvokeError::find(&error) else {
                panic!("{error:?}")
            };
            let reason = ThrottleReason::ReservedFunctionConcurrentInvocations;
            assert_eq!(
                (throttle.reason(), throttle.retry_after()),
                (reason, Some(Duration::from_secs(1)))
            );
            failed += 1;
        }
    }
    // It asks to be left alone for a second, and is tried again after it; 20 calls take 2 to 3.
    assert!((1..=4).contains(&failed), "{failed}");
    reserve(&clients[0], "e2e-regions", None).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    for _ in 0..6 {
        call().await.unwrap();
    }
    let served = balancer.status().endpoints.into_iter().find(|of| of.name.contains("us-east-1"));
    assert!(served.unwrap().outcomes.success > 3, "it serves again");
}

/// Asks the control plane of load balancers; gives what stands in the first `<tag>` of the answer.
async fn elb(endpoint: &str, tag: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace('/', "%2F")))
        .collect();
    let request = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/elasticloadbalancing/aws4_request, \
             SignedHeaders=host, Signature=0",
        )
        .body(Full::from(format!("{}&Version=2015-12-01", query.join("&"))))
        .unwrap();
    let origin: Origin = endpoint.parse().unwrap();
    let response = Pool::new().client::<Full<Bytes>>(origin).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let inner = body.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    inner.unwrap_or_else(|| panic!("no {tag} in {body}")).0.to_owned()
}

/// What the load balancer adds, and where it is.
fn without_the_balancers(mut event: Value) -> Value {
    if let Some(headers) = event["headers"].as_object_mut() {
        headers.retain(|name, _| {
            !name.starts_with("x-forwarded-") && !["host", "x-amzn-trace-id"].contains(&&**name)
        });
    }
    event
}

#[tokio::test]
async fn events_and_responses_are_those_of_its_load_balancer() {
    let Some(endpoint) = endpoint() else { return };
    let client = client(&endpoint, REGIONS[0]);
    deploy(&client, "e2e-mirror", "mirror").await;
    deploy(&client, "e2e-site", "http").await;
    let mut balancers = Vec::new();
    for name in ["e2e-mirror", "e2e-site"] {
        let group = elb(
            &endpoint,
            "TargetGroupArn",
            &[("Action", "CreateTargetGroup"), ("Name", name), ("TargetType", "lambda")],
        )
        .await;
        let function = format!("arn:aws:lambda:us-east-1:000000000000:function:{name}");
        elb(
            &endpoint,
            "RequestId",
            &[
                ("Action", "RegisterTargets"),
                ("TargetGroupArn", &group),
                ("Targets.member.1.Id", &function),
            ],
        )
        .await;
        let created =
            [("Action", "CreateLoadBalancer"), ("Name", name), ("Subnets.member.1", "subnet-1")];
        let host = elb(&endpoint, "DNSName", &created).await;
        let balancer = elb(
            &endpoint,
            "LoadBalancerArn",
            &[("Action", "DescribeLoadBalancers"), ("Names.member.1", name)],
        )
        .await;
        elb(
            &endpoint,
            "ListenerArn",
            &[
                ("Action", "CreateListener"),
                ("LoadBalancerArn", &balancer),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("DefaultActions.member.1.Type", "forward"),
                ("DefaultActions.member.1.TargetGroupArn", &group),
            ],
        )
        .await;
        balancers.push((name, host, group));
    }
    let requests = |(name, ..): &(&str, String, String)| -> Vec<Request<Full<Bytes>>> {
        let get = |path: &str| Request::get(path).body(Full::default()).unwrap();
        let post = |kind: &str, body: &'static str| {
            let request = Request::post("/echo").header("content-type", kind);
            let request = request.header("content-length", body.len());
            request.header("x-mixed-Case", "Value").body(Full::from(body)).unwrap()
        };
        match *name {
            "e2e-mirror" => vec![
                get("/"),
                get("/a/b?x=1&y=%20z&x=2&flag"),
                post("application/json", "{\"a\": \"\u{e9}\\\"\"}"),
                post("text/plain; charset=utf-8", "line\r\nline\u{0}"),
            ],
            _ => vec![
                get("/hello?name=Ada"),
                get("/nowhere"),
                get("/binary"),
                post("application/json", "{}"),
                get("/fail"),
            ],
        }
    };
    for balancer @ (name, host, group) in &balancers {
        let theirs = Pool::new().client::<Full<Bytes>>(endpoint.parse().unwrap());
        let function = Function::new(Sdk::new(client.clone()), name.parse().unwrap());
        let ours = HttpFunction::new(function, AlbEvent::new(&**group));
        for (request, same) in requests(balancer).into_iter().zip(requests(balancer)) {
            let line = format!("{} {}", request.method(), request.uri());
            let (mut head, body) = request.into_parts();
            head.headers.insert("host", host.parse().unwrap());
            let theirs = theirs.clone().oneshot(Request::from_parts(head, body)).await.unwrap();
            let ours = ours.clone().oneshot(same).await.unwrap();
            assert_eq!(theirs.status(), ours.status(), "{line}");
            if ours.status() == 502 {
                continue;
            }
            for header in ["content-type", "x-version"] {
                assert_eq!(theirs.headers().get(header), ours.headers().get(header), "{line}");
            }
            let theirs = theirs.into_body().collect().await.unwrap().to_bytes();
            let ours = ours.into_body().collect().await.unwrap().to_bytes();
            if *name == "e2e-mirror" {
                let [theirs, ours] = [theirs, ours]
                    .map(|event| without_the_balancers(serde_json::from_slice(&event).unwrap()));
                assert_eq!(theirs, ours, "{line}");
            } else {
                assert_eq!(theirs, ours, "{line}");
            }
        }
    }
}
