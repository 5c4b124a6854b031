//! Rules that change while they serve, services that are not ready, and what operators see.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};
use tower_lb::rules::{
    Action, Condition, FixedResponse, Forward, MatchedRule, Rule, Rules, WarningCause,
};

use crate::server::{Echo, ask, serve};

/// Sends requests until `stop`. Returns how many got status 200, and how many did not.
fn spawn_requests(address: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<(usize, usize)> {
    tokio::spawn(async move {
        let (mut good, mut bad) = (0, 0);
        while !stop.load(SeqCst) {
            let answer = ask(address, "GET /a HTTP/1.1\r\nHost: a.test").await;
            if answer.status == 200 { good += 1 } else { bad += 1 }
        }
        (good, bad)
    })
}

fn set(name: &'static str) -> tower_lb::rules::RulesBuilder<Action<Echo>> {
    let not_found = FixedResponse::builder(StatusCode::NOT_FOUND).build().unwrap();
    let rule = Rule::new(10, Forward::to(Echo(name)).into()).name("a");
    Rules::builder(not_found.into()).rule(rule.when(Condition::host(["a.test"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_rules_change() {
    let rules = set("one").build().unwrap();
    let address = serve(rules.clone()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| spawn_requests(address, Arc::clone(&stop))).collect();
    for turn in 0..200 {
        rules.replace(set(if turn % 2 == 0 { "two" } else { "one" })).unwrap();
        // A set with an error changes nothing.
        let broken = set("three").rule(Rule::new(10, Forward::to(Echo("x")).into()).name("b"));
        let error = rules.replace(broken.clone()).unwrap_err();
        assert_eq!(error.field(), "rules[1].priority");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.store(true, SeqCst);
    let (mut good, mut bad) = (0, 0);
    for client in clients {
        let counts = client.await.unwrap();
        (good, bad) = (good + counts.0, bad + counts.1);
    }
    assert!(good > 0 && bad == 0, "{good} {bad}");
    let status = rules.status();
    assert_eq!((status.replacements, status.rejected_replacements), (200, 200));
    // The counts went on through all sets.
    assert_eq!(status.rules[0].name, "a");
    assert_eq!(status.rules[0].matched, good as u64);
    assert_eq!(status.rules[1].matched, 0);
}

/// A service that is ready when its switch is on.
#[derive(Clone)]
struct Switched(Arc<(AtomicBool, AtomicUsize)>);

impl Service<Request<()>> for Switched {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.0.0.load(SeqCst) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.1.fetch_add(1, SeqCst);
        let rule: &MatchedRule = request.extensions().get().unwrap();
        ready(Ok(Response::new(rule.name().to_owned())))
    }
}

fn request() -> Request<()> {
    Request::get("/").header("host", "a.test").body(()).unwrap()
}

#[tokio::test]
async fn a_request_waits_for_its_own_service_only() {
    let busy = Switched(Arc::default());
    let idle = Switched(Arc::new((true.into(), 0.into())));
    let rule = Rule::new(1, busy.clone()).when(Condition::path(["/busy"]));
    let mut rules = Rules::builder(idle).rule(rule).build().unwrap();
    assert!(rules.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    let to_busy = Request::get("/busy").body(()).unwrap();
    let mut waiting = tokio_test::task::spawn(rules.call(to_busy));
    assert!(waiting.poll().is_pending());
    assert_eq!(rules.call(request()).await.unwrap().body(), "default");
    busy.0.0.store(true, SeqCst);
    assert_eq!(waiting.await.unwrap().body(), "1");

    // A request that is dropped while it waits is not sent.
    busy.0.0.store(false, SeqCst);
    let to_busy = Request::get("/busy").body(()).unwrap();
    let mut waiting = tokio_test::task::spawn(rules.call(to_busy));
    assert!(waiting.poll().is_pending());
    drop(waiting);
    busy.0.0.store(true, SeqCst);
    // A task that had taken the request over would send it now.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(busy.0.1.load(SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_waits_wakes_up() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let slow = service_fn(move |_: Request<()>| {
        let gate = Arc::clone(&held);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(()))
        }
    });
    let rules = Rules::builder(ConcurrencyLimitLayer::new(1).layer(slow)).build().unwrap();
    let first = tokio::spawn(rules.clone().oneshot(request()));
    tokio::task::yield_now().await;
    // The limit is reached: the second waits in its future.
    let second = tokio::spawn(rules.clone().oneshot(request()));
    tokio::task::yield_now().await;
    gate.add_permits(2);
    let both = async { (first.await.unwrap().unwrap(), second.await.unwrap().unwrap()) };
    timeout(Duration::from_secs(10), both).await.expect("both are answered");
    assert_eq!(rules.status().rules[0].matched, 2);
}

#[test]
fn an_explanation_is_for_people_and_programs() {
    let rules = Rules::builder(())
        .rule(
            Rule::new(10, ())
                .name("api")
                .when(Condition::host(["api.example", "*.api.example"]))
                .when(Condition::path(["/v1/*"]).or(!Condition::method(["GET"])))
                .rewrite_url("^/v1/", "/"),
        )
        .rule(Rule::new(20, ()).when(Condition::header("authorization", ["Bearer secret"])))
        .rule(Rule::new(30, ()).name("a\u{1b}[31m").when(Condition::any()))
        .build()
        .unwrap();
    let head = |uri: &str| {
        let request = Request::get(uri).header("host", "x.api.example:80");
        request.header("authorization", "Bearer secret2").body(()).unwrap().into_parts().0
    };
    let explanation = rules.explain(&head("/v1/users"));
    assert_eq!(explanation.rewritten_url.as_deref(), Some("/users"));
    assert_eq!(
        explanation.to_string(),
        "rule 10 (api), as /users
→ 10 (api): matched
    ✓ host is api.example or *.api.example: x.api.example matches *.api.example
    ✓ any of
      ✓ path is /v1/*: /v1/users matches /v1/*
  20: not matched
    ✗ authorization is (hidden): (hidden)
  30 (a\\u{1b}[31m): would match, but a rule before it does
    ✓ any request
  default: would match, but a rule before it does
"
    );
    let other = rules.explain(&head("/v2"));
    assert_eq!(other.priority, Some(30));
    let json = serde_json::to_value(&other).unwrap();
    assert_eq!(json["rules"][0]["verdict"], "not_matched");
    let method = &json["rules"][0]["conditions"][4];
    assert_eq!(method["condition"], "method is GET");
    assert_eq!(method["compared"], "GET");
    assert!(!json.to_string().contains("secret") && !format!("{rules:?}").contains("secret"));
    // Nothing is counted.
    assert!(rules.status().rules.iter().all(|rule| rule.matched == 0));
}

#[test]
fn a_set_is_checked_as_a_whole() {
    let rule = |priority| Rule::new(priority, ()).when(Condition::path(["/a"]));
    let error =
        |rules: Vec<Rule<()>>| Rules::builder(()).rules(rules).build().unwrap_err().to_string();
    for (error, expected) in [
        (error(vec![rule(0)]), "`rules[0].priority` is 0: expected a number from 1 to 50000"),
        (
            error(vec![rule(50_001)]),
            "`rules[0].priority` is 50001: expected a number from 1 to 50000",
        ),
        (
            error(vec![rule(1), rule(2), rule(1)]),
            "`rules[2].priority` is 1: expected another priority than that of rules[0]",
        ),
        (
            error(vec![rule(1).name("x"), rule(2).name("x")]),
            "`rules[1].name` is x: expected a name that no other rule has",
        ),
        (
            error(vec![rule(1).name("default")]),
            "`rules[0].name` is default: expected a name that no other rule has",
        ),
        (
            error(vec![rule(1), rule(2).rewrite_url("(?=x)", "/")]),
            "`rules[1].url_rewrite.regex` is (?=x): expected a regular expression of the crate \
             `regex`; look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            error(vec![rule(1).rewrite_host("a", "$1")]),
            "`rules[0].host_rewrite.replacement` is $1: expected groups from $0 to $0; $$ for a \
             dollar sign",
        ),
    ] {
        assert_eq!(error, expected);
    }
    let rules = Rules::builder(()).rule(rule(1)).rule(rule(2)).build().unwrap();
    let warnings = rules.warnings();
    assert_eq!((warnings.len(), warnings[0].priority), (1, 2));
    assert!(matches!(&warnings[0].cause, WarningCause::Unreachable { by_priority: 1, .. }));
}
