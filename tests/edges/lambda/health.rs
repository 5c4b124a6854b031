//! Functions that are asked how they are, and kept warm, in virtual time.
use std::{
    future::{Ready, ready},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;
use tower_lb::{
    Balancer,
    balance::EndpointStatus,
    discover::DiscoverExt,
    endpoint::Health,
    health::{Check, HealthCheck, HealthExt},
    lambda::{
        self, AlbEvent, DryRun, EventCheck, Function, FunctionErrorKind, FunctionName, Invocation,
        InvocationType, Invoke, InvokeError, Invoked, ServiceError, Throttle, ThrottleReason,
        UrlEvent, WarmUp,
    },
    strategy::RoundRobin,
};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Invoked, InvokeError>;

/// Answers as told, and notes what it was invoked with.
#[derive(Clone)]
struct Lambda {
    answer: Arc<Mutex<fn() -> Answer>>,
    invocations: Arc<Mutex<Vec<Invocation>>>,
}

impl Lambda {
    fn new(answer: fn() -> Answer) -> Self {
        Self { answer: Arc::new(Mutex::new(answer)), invocations: Arc::default() }
    }

    fn set(&self, answer: fn() -> Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Since last time.
    fn invocations(&self) -> Vec<Invocation> {
        std::mem::take(&mut self.invocations.lock().unwrap())
    }

    async fn check(&self, check: impl Check<Function<Self>>) -> Result<(), String> {
        let function = Function::new(self.clone(), "f:live".parse().unwrap());
        check.check(function).await.map_err(|error| error.to_string())
    }
}

impl Invoke for Lambda {
    type Future = Ready<Answer>;

    fn invoke(&self, _: &FunctionName, invocation: Invocation) -> Self::Future {
        self.invocations.lock().unwrap().push(invocation);
        ready(self.answer.lock().unwrap()())
    }
}

fn ok() -> Answer {
    Ok(Invoked::new(200, r#"{"statusCode":200}"#))
}

fn unavailable() -> Answer {
    Ok(Invoked::new(200, r#"{"statusCode":503}"#))
}

fn nonsense() -> Answer {
    Ok(Invoked::new(200, "fine, thank you"))
}

fn failed() -> Answer {
    let said = r#"{"errorType":"E","errorMessage":"no such event"}"#;
    Ok(Invoked::new(200, said).with_function_error(FunctionErrorKind::Unhandled))
}

fn throttled() -> Answer {
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocations;
    Err(InvokeError::Throttled(Throttle::new(reason, None)))
}

fn missing() -> Answer {
    let refusal = ServiceError::new(404, "ResourceNotFoundException", "not found");
    Err(InvokeError::Service(Box::new(refusal)))
}

const TARGET_GROUP: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/f/0123456789abcdef";

fn event_check() -> EventCheck<AlbEvent> {
    EventCheck::get(AlbEvent::new(TARGET_GROUP), "/healthz".parse().unwrap())
}

#[tokio::test]
async fn the_event_is_that_of_a_load_balancers_health_check() {
    let lambda = Lambda::new(ok);
    lambda.check(event_check()).await.unwrap();
    let event: Value = serde_json::from_slice(lambda.invocations()[0].payload()).unwrap();
    let expected = json!({
        "requestContext": { "elb": { "targetGroupArn": TARGET_GROUP } },
        "httpMethod": "GET",
        "path": "/healthz",
        "queryStringParameters": {},
        "headers": { "user-agent": "ELB-HealthChecker/2.0" },
        "body": "",
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);

    let url = UrlEvent::new("abc.lambda-url.eu-west-1.on.aws");
    lambda.check(EventCheck::get(url, "/".parse().unwrap())).await.unwrap();
    let event: Value = serde_json::from_slice(lambda.invocations()[0].payload()).unwrap();
    assert_eq!(event["requestContext"]["http"]["userAgent"], "ELB-HealthChecker/2.0");
}

#[tokio::test]
async fn responses_are_judged_by_their_status() {
    for (answer, expected) in [
        (ok as fn() -> Answer, None),
        (unavailable, Some("responded with status 503 Service Unavailable")),
        (nonsense, Some("the function's response is not a valid HTTP response")),
        (failed, Some("no such event")),
        (missing, Some("ResourceNotFoundException")),
        (throttled, None),
    ] {
        let error = Lambda::new(answer).check(event_check()).await.err();
        let expected = expected.unwrap_or_default();
        let found = error.clone().unwrap_or_default();
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{error:?}");
    }
    let lenient = event_check().status(|status| status.as_u16() == 503);
    assert!(Lambda::new(unavailable).check(lenient).await.is_ok());
}

#[tokio::test]
async fn a_dry_run_runs_nothing() {
    let lambda = Lambda::new(|| Ok(Invoked::new(204, "")));
    lambda.check(DryRun).await.unwrap();
    assert_eq!(lambda.invocations()[0].kind(), InvocationType::DryRun);
    assert!(Lambda::new(throttled).check(DryRun).await.is_ok());
    assert!(Lambda::new(missing).check(DryRun).await.is_err());
}

#[tokio::test]
async fn what_ran_is_warm() {
    let lambda = Lambda::new(ok);
    lambda.check(WarmUp::event(r#"{"warm":true}"#).environments(3).unwrap()).await.unwrap();
    let payloads = lambda.invocations();
    assert_eq!(payloads.len(), 3);
    assert!(payloads.iter().all(|one| one.payload() == r#"{"warm":true}"#));
    for answer in [failed, throttled, nonsense] {
        assert!(Lambda::new(answer).check(WarmUp::event("{}")).await.is_ok());
    }
    assert!(Lambda::new(missing).check(WarmUp::event("{}")).await.is_err());
    assert!(WarmUp::event("{}").environments(0).is_err());
}

fn health(balancer: &Balancer<Function<Lambda>, impl tower_lb::strategy::Strategy>) -> Health {
    let of = |one: &EndpointStatus| one.attributes.health().clone();
    balancer.status().endpoints.first().map(of).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_its_checks_is_out_and_comes_back() {
    let lambda = Lambda::new(ok);
    let check = HealthCheck::new(event_check()).interval(35 * SECOND).timeout(30 * SECOND);
    let functions = lambda::functions(["f"]).unwrap();
    let functions = functions.connect(Function::connector(lambda.clone()));
    let functions = functions.health_checked(check.jitter(0.0)).unwrap();
    let balancer = Balancer::spawn(RoundRobin::new(), functions);
    sleep(SECOND).await;
    assert_eq!(health(&balancer), Health::Healthy);
    lambda.set(unavailable);
    sleep(400 * SECOND).await;
    let Health::Unhealthy(reason) = health(&balancer) else { panic!("{}", health(&balancer)) };
    assert!(reason.to_string().contains("503"), "{reason}");
    lambda.set(ok);
    sleep(400 * SECOND).await;
    assert_eq!(health(&balancer), Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn functions_are_kept_warm_without_any_traffic() {
    let lambda = Lambda::new(ok);
    let every = 240 * SECOND;
    let check = HealthCheck::new(WarmUp::scheduled("arn:aws:events:eu-west-1:1:rule/warm"));
    let check = check.interval(every).idle_interval(every).jitter(0.0);
    let functions = lambda::functions(["f"]).unwrap();
    let functions = functions.connect(Function::connector(lambda.clone()));
    let functions = functions.health_checked(check).unwrap();
    let _balancer = Balancer::spawn(RoundRobin::new(), functions);
    sleep(3600 * SECOND).await;
    let invocations = lambda.invocations();
    assert!((14..=17).contains(&invocations.len()), "{} in an hour", invocations.len());
    let event: Value = serde_json::from_slice(invocations[0].payload()).unwrap();
    assert_eq!((&event["source"], &event["region"]), (&json!("aws.events"), &json!("eu-west-1")));
}
