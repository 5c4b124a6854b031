//! What is sent again in front of Lambda, where to, and what it costs.
#![cfg(feature = "lambda")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::Empty;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_lb::{
    Balancer,
    discover::DiscoverExt,
    failover::FailoverLayer,
    hedge::{Delay, HedgeLayer},
    lambda::{
        self, AlbEvent, Function, FunctionErrorKind, FunctionName, Http, Invocation,
        InvocationStatus, InvokeError, Invoked, Throttle, ThrottleReason, UntilAnswer,
    },
    retry::{Backoff, Budget, RetryBuilder, RetryLayer},
    strategy::{PickFirst, Strategy},
};

const MS: Duration = Duration::from_millis(1);

/// How the functions of a test answer, by name.
#[derive(Clone, Copy)]
enum Answer {
    Fine,
    Fails,
    Throttled(ThrottleReason),
    Unreachable,
    TimesOut,
    Slow,
}

/// Which functions were invoked.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

type Invoking = std::pin::Pin<Box<dyn Future<Output = Result<Invoked, InvokeError>> + Send>>;

/// Functions, of which the first is picked if it has not been tried.
async fn functions<const N: usize>(
    log: &Log,
    functions: [(&'static str, Answer); N],
) -> Balancer<
    Function<impl lambda::Invoke<Future = Invoking> + Clone + use<N>>,
    <PickFirst as Strategy>::Picker,
    UntilAnswer,
> {
    let answers = BTreeMap::from(functions);
    let log = log.clone();
    let invoke = move |name: &FunctionName, _: Invocation| -> Invoking {
        log.0.lock().unwrap().push(name.name().to_owned());
        let answer = answers[name.name()];
        Box::pin(async move {
            match answer {
                Answer::Fine => {}
                Answer::Slow => sleep(500 * MS).await,
                Answer::Fails => {
                    let failed = Invoked::new(200, r#"{"errorType":"Oops"}"#);
                    return Ok(failed.with_function_error(FunctionErrorKind::Handled));
                }
                Answer::Throttled(reason) => {
                    return Err(InvokeError::Throttled(Throttle::new(reason, None)));
                }
                Answer::Unreachable => return Err(InvokeError::Unreachable("no route".into())),
                Answer::TimesOut => return Err(InvokeError::TimedOut("too long".into())),
            }
            Ok(Invoked::new(200, r#"{"statusCode":200}"#))
        })
    };
    let names = functions.map(|(name, _)| name);
    let source = lambda::functions(names).unwrap().connect(Function::connector(invoke));
    let balancer = lambda::builder().spawn(PickFirst::new(), source).unwrap();
    tokio::task::yield_now().await;
    balancer
}

fn retry() -> RetryBuilder<InvocationStatus> {
    RetryLayer::builder(InvocationStatus).backoff(Backoff::full(MS, MS)).seed(1)
}

fn idempotent() -> Invocation {
    Invocation::default().idempotent()
}

#[tokio::test(start_paused = true)]
async fn what_did_not_run_is_sent_elsewhere_within_the_budget() {
    let log = Log::default();
    let reserved = ThrottleReason::ReservedFunctionConcurrentInvocations;
    let budget = Budget::builder().share(0.0).floor(1.0).build().unwrap();
    let balancer = functions(&log, [("a", Answer::Throttled(reserved)), ("b", Answer::Fine)]).await;
    let service = retry().budget(budget.clone()).build().unwrap().layer(balancer);
    let invoked = service.clone().oneshot(Invocation::default()).await.unwrap();
    assert!(!invoked.is_function_error());
    assert_eq!(log.take(), ["a", "b"]);
    assert_eq!(budget.spent(), 1, "throttles are overload: trying again has its price");

    let balancer = functions(&log, [("a", Answer::Unreachable), ("b", Answer::Fine)]).await;
    let service = retry().budget(budget.clone()).build().unwrap().layer(balancer);
    service.oneshot(Invocation::default()).await.unwrap();
    assert_eq!(log.take(), ["a", "b"]);
    assert_eq!(budget.spent(), 1, "for nothing");
}

#[tokio::test(start_paused = true)]
async fn what_ran_or_may_have_run_is_sent_again_only_if_it_may_be() {
    let log = Log::default();
    for answer in [Answer::Fails, Answer::TimesOut] {
        let balancer = functions(&log, [("a", answer), ("b", Answer::Fine)]).await;
        let service = retry().build().unwrap().layer(balancer);
        let once = service.clone().oneshot(Invocation::default()).await;
        assert!(once.is_err() || once.unwrap().is_function_error());
        assert_eq!(log.take(), ["a"]);
        let invoked = service.oneshot(idempotent()).await.unwrap();
        assert!(!invoked.is_function_error());
        assert_eq!(log.take(), ["a", "b"], "not where it failed");
    }
}

#[tokio::test(start_paused = true)]
async fn where_only_waiting_helps_nothing_is_sent_again() {
    let log = Log::default();
    let throttled = Answer::Throttled(ThrottleReason::CallerRate);
    let balancer = functions(&log, [("a", throttled), ("b", Answer::Fine)]).await;
    let service = retry().build().unwrap().layer(balancer);
    service.oneshot(idempotent()).await.unwrap_err();
    assert_eq!(log.take(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_function_is_hedged_at_another() {
    let log = Log::default();
    let balancer = functions(&log, [("a", Answer::Slow), ("b", Answer::Fine)]).await;
    let hedge = HedgeLayer::builder(InvocationStatus, Delay::fixed(50 * MS)).build().unwrap();
    let began = tokio::time::Instant::now();
    hedge.layer(balancer.clone()).oneshot(idempotent()).await.unwrap();
    assert_eq!(began.elapsed(), 50 * MS);
    assert_eq!(log.take(), ["a", "b"]);
    let cancelled: u64 = balancer.status().endpoints.iter().map(|end| end.outcomes.cancelled).sum();
    assert_eq!(cancelled, 1);
}

#[tokio::test(start_paused = true)]
async fn another_region_serves_what_the_first_has_no_room_for() {
    let (near_log, far_log) = (Log::default(), Log::default());
    let full = Answer::Throttled(ThrottleReason::ConcurrentInvocations);
    let near = functions(&near_log, [("a", full)]).await;
    let far = functions(&far_log, [("a", Answer::Fine)]).await;
    let failover = FailoverLayer::builder(far, InvocationStatus).build().unwrap();
    let service = failover.layer(near);
    // It did not run, so it need not be idempotent.
    service.clone().oneshot(Invocation::default()).await.unwrap();
    assert_eq!((near_log.take().len(), far_log.take().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn http_requests_are_retried_by_their_method() {
    let log = Log::default();
    let balancer = functions(&log, [("a", Answer::Fails), ("b", Answer::Fine)]).await;
    let retry = retry().build().unwrap();
    let site = Http::new(retry.layer(balancer), AlbEvent::new("arn:aws:elasticloadbalancing"));
    let send = async |request: http::request::Builder| {
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        site.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(send(Request::get("/")).await, StatusCode::OK);
    assert_eq!(log.take(), ["a", "b"]);
    assert_eq!(send(Request::post("/")).await, StatusCode::BAD_GATEWAY);
    assert_eq!(log.take(), ["a"]);
    let keyed = Request::post("/").header("idempotency-key", "7");
    assert_eq!(send(keyed).await, StatusCode::OK);
    assert_eq!(log.take(), ["a", "b"]);
}
