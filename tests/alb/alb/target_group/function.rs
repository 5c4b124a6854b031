//! A Lambda function as the target of a group.

use std::{
    future::{pending, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tower_lb::{
    alb::{
        TargetGroup, TargetGroupBuilder,
        target_group::{HealthChecks, TargetState},
    },
    lambda::{Function, FunctionErrorKind, FunctionName, Invocation, InvokeError, Invoked},
};

use super::backend::{Body, get, send, status, until};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/f/0";

fn group(
    answer: impl Fn(Value) -> Result<Invoked, InvokeError> + Clone + Send + Sync + 'static,
) -> TargetGroupBuilder<Body> {
    let invoke = move |_: &FunctionName, invocation: Invocation| {
        let event = serde_json::from_slice(&invocation.into_payload()).unwrap();
        ready(answer(event))
    };
    TargetGroup::builder("function").function(ARN, Function::new(invoke, "echo".parse().unwrap()))
}

fn invoked(response: &Value) -> Invoked {
    Invoked::new(200, Bytes::from(response.to_string()))
}

#[tokio::test]
async fn a_request_is_an_event_of_the_alb() {
    let group = group(|event| {
        let body = event.to_string();
        Ok(invoked(&json!({ "statusCode": 201, "body": body, "isBase64Encoded": false })))
    });
    let group = group.spawn().unwrap();
    let request = Request::post("/orders?id=7").header("x-a", "b").body(Body::from("hi")).unwrap();
    let response = send(&group, request).await.unwrap();
    assert_eq!(response.status(), 201);
    let event: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(event["requestContext"]["elb"]["targetGroupArn"], ARN);
    assert_eq!((&event["httpMethod"], &event["path"]), (&json!("POST"), &json!("/orders")));
    assert_eq!(event["queryStringParameters"]["id"], "7");
    let health = group.health_of(ARN);
    assert_eq!(health.state, TargetState::Unavailable);
    assert_eq!(health.reason.unwrap().as_str(), "Target.HealthCheckDisabled");
    assert_eq!(group.status().endpoints[0].outcomes.success, 1);
}

#[tokio::test]
async fn failures_of_a_function_are_those_of_the_table() {
    let failed =
        || Invoked::new(200, Bytes::from("{}")).with_function_error(FunctionErrorKind::Unhandled);
    let function_failed = group(move |_| Ok(failed())).spawn().unwrap();
    assert_eq!(status(&function_failed, get("/")).await, 502);
    assert_eq!(function_failed.status().endpoints[0].outcomes.failures(), 1);
    let malformed = group(|_| Ok(invoked(&json!({ "status": 200 })))).spawn().unwrap();
    assert_eq!(status(&malformed, get("/")).await, 502);
    let large = json!({ "statusCode": 200, "body": "x".repeat(1 << 20) });
    let large = group(move |_| Ok(invoked(&large))).spawn().unwrap();
    assert_eq!(status(&large, get("/")).await, 502);
    let unreachable =
        group(|_| Err(InvokeError::Unreachable("no network".into()))).spawn().unwrap();
    assert_eq!(status(&unreachable, get("/")).await, 502);
    let late = group(|_| Err(InvokeError::TimedOut("no answer".into()))).spawn().unwrap();
    assert_eq!(status(&late, get("/")).await, 504);
    let body = Request::post("/").body(Body::from(vec![b'x'; (1 << 20) + 1])).unwrap();
    assert_eq!(status(&large, body).await, 413);
}

#[tokio::test]
async fn a_function_that_does_not_answer_within_the_idle_timeout_is_504() {
    let silent = |_: &FunctionName, _: Invocation| pending::<Result<Invoked, InvokeError>>();
    let function = Function::new(silent, "silent".parse().unwrap());
    let limit = Duration::from_millis(300);
    let group = TargetGroup::<Body>::builder("function").function(ARN, function);
    let group = group.idle_timeout(limit).unrestricted().spawn().unwrap();
    let start = Instant::now();
    assert_eq!(status(&group, get("/")).await, 504);
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    let outcomes = group.status().endpoints[0].outcomes;
    assert_eq!((outcomes.timeout, outcomes.failures()), (1, 1), "{outcomes:?}");
}

#[tokio::test]
async fn a_function_is_checked_if_asked() {
    let checked = group(|event| {
        let is_check = event["headers"]["user-agent"] == "ELB-HealthChecker/2.0";
        Ok(invoked(&json!({ "statusCode": if is_check { 200 } else { 404 } })))
    });
    let checks = HealthChecks::new().enabled(true).interval(Duration::from_millis(50));
    let checked = checked.health_checks(checks).unrestricted().spawn().unwrap();
    until("it is healthy", || checked.health_of(ARN).state == TargetState::Healthy).await;
    assert_eq!(status(&checked, get("/")).await, 404);
}
