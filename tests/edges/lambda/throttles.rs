//! Throttles: who is left out of the pick, for how long, and what is shed.
use std::{
    collections::HashMap,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    endpoint::{Endpoint, Locality},
    lambda::{
        Function, FunctionName, Invocation, InvokeError, Invoked, Remedy, RetryAdvice, Throttle,
        ThrottleReason, Throttles, UntilResponse,
    },
    strategy::{Pick, RoundRobin, Strategy, Tiers},
};

const MS: Duration = Duration::from_millis(1);

/// A Lambda that throttles as told, by function or region, and counts.
#[derive(Clone, Default)]
struct Lambda {
    throttled: Arc<Mutex<HashMap<&'static str, Throttle>>>,
    calls: Arc<Mutex<HashMap<String, u32>>>,
}

impl Lambda {
    /// Everything whose name contains this is throttled from now on.
    fn throttle(&self, part: &'static str, reason: ThrottleReason, delay: Option<Duration>) {
        self.throttled.lock().unwrap().insert(part, Throttle::new(reason, delay));
    }

    fn relent(&self) {
        self.throttled.lock().unwrap().clear();
    }

    fn answer(&self, name: &FunctionName) -> Result<Invoked, InvokeError> {
        let name = name.to_string();
        *self.calls.lock().unwrap().entry(name.clone()).or_default() += 1;
        let throttled = self.throttled.lock().unwrap();
        let found = throttled.iter().find(|(part, _)| name.contains(**part));
        match found {
            Some((_, throttle)) => Err(InvokeError::Throttled(throttle.clone())),
            None => Ok(Invoked::new(200, name.into_bytes())),
        }
    }

    /// Calls since last time, by name.
    fn calls(&self) -> HashMap<String, u32> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

type Balanced = Box<dyn FnMut() -> futures::future::BoxFuture<'static, bool>>;

/// Round robin over functions; each call gives whether it succeeded.
fn balance(lambda: &Lambda, throttles: &Throttles, names: &[&str]) -> Balanced {
    balance_tiers(lambda, throttles, &[names], RoundRobin::starting_at(0))
}

/// The same over tiers of functions, by any strategy.
fn balance_tiers<St>(
    lambda: &Lambda,
    throttles: &Throttles,
    tiers: &[&[&str]],
    strategy: St,
) -> Balanced
where
    St: Strategy<Picker: Pick<Invocation> + Send + Sync + 'static> + Send + Unpin + 'static,
{
    let lambda = lambda.clone();
    let names = (0..).zip(tiers).flat_map(|(tier, names)| names.iter().map(move |n| (tier, n)));
    let functions = names.map(|(tier, name)| {
        let name: FunctionName = name.parse().unwrap();
        let mut endpoint = Endpoint::new(name.clone()).with_tier(tier);
        // The names of these tests begin with their region.
        if let Some((region, _)) = name.name().split_once('_') {
            endpoint = endpoint.with_locality(Locality::new(region, ""));
        }
        (name, endpoint)
    });
    let functions =
        discover::list(functions.collect::<Vec<_>>()).connect(move |name: &FunctionName| {
            let lambda = lambda.clone();
            let invoke = move |name: &FunctionName, _: Invocation| ready(lambda.answer(name));
            Function::new(invoke, name.clone())
        });
    let balancer = Builder::lambda()
        .track(throttles.track(UntilResponse))
        .seed(1)
        .spawn(throttles.avoid_throttled(strategy), functions)
        .unwrap();
    Box::new(move || {
        let balancer = balancer.clone();
        Box::pin(async move {
            let succeeded = balancer.oneshot(Invocation::default()).await.is_ok();
            // The driver gets its turn.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            succeeded
        })
    })
}

/// How many of so many requests fail.
async fn failures(balanced: &mut Balanced, requests: u32) -> u32 {
    let mut failures = 0;
    for _ in 0..requests {
        failures += u32::from(!balanced().await);
    }
    failures
}

#[tokio::test(start_paused = true)]
async fn a_throttled_function_is_left_out_with_all_its_versions() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let mut balanced = balance(&lambda, &throttles, &["orders:1", "orders:2", "stock:1"]);
    assert_eq!(failures(&mut balanced, 30).await, 0);
    lambda.calls();
    lambda.throttle("orders", ThrottleReason::ReservedFunctionConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 30).await, 1, "one is enough");
    assert_eq!(lambda.calls()["stock:1"], 29);
    let status = throttles.clone().name("eu").status();
    assert_eq!((status.throttled.function, status.paused, status.pauses), (1, 1, 1));
    assert_eq!(
        status.to_string(),
        "eu: 1 invocations throttled (1 function); 1 left out now, 1 pauses; 0 requests shed, \
         0.0 % now"
    );

    // It is tried again after 100 ms, then after 200.
    advance(101 * MS).await;
    assert_eq!(failures(&mut balanced, 30).await, 1);
    advance(101 * MS).await;
    assert_eq!(failures(&mut balanced, 30).await, 0);
    lambda.relent();
    advance(100 * MS).await;
    lambda.calls();
    assert_eq!(failures(&mut balanced, 30).await, 0);
    assert!((9..=11).contains(&lambda.calls()["orders:1"]), "and gets its share again");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_region_is_left_out_as_a_whole() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let names = ["eu-west-1_a", "eu-west-1_b", "eu-west-1_c", "us-east-1_a"];
    let mut balanced = balance(&lambda, &throttles, &names);
    // Another balancer that shares what is known is spared the lesson.
    let mut other = balance(&lambda, &throttles, &names);
    assert_eq!(failures(&mut other, 4).await, 0);
    lambda.throttle("eu-west-1", ThrottleReason::ConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 40).await, 1);
    assert_eq!(failures(&mut other, 40).await, 0);
    lambda.relent();
    advance(1001 * MS).await;
    lambda.calls();
    assert_eq!(failures(&mut balanced, 40).await, 0);
    // The first may have been picked before the driver had its turn.
    assert!((9..=11).contains(&lambda.calls()["eu-west-1_b"]));
}

const HOME: [&str; 2] = ["eu-west-1_a", "eu-west-1_b"];
const ABROAD: [&str; 2] = ["us-east-1_a", "us-east-1_b"];

#[tokio::test(start_paused = true)]
async fn the_next_tier_takes_over_from_a_throttled_region_and_gives_back() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let strategy = Tiers::new(RoundRobin::starting_at(0));
    let mut balanced = balance_tiers(&lambda, &throttles, &[&HOME, &ABROAD], strategy);
    assert_eq!(failures(&mut balanced, 40).await, 0);
    let calls = lambda.calls();
    assert_eq!(HOME.map(|name| calls[name]), [20, 20]);
    assert_eq!(calls.len(), 2, "nothing goes abroad without need");

    lambda.throttle("eu-west-1", ThrottleReason::ConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 41).await, 1);
    let calls = lambda.calls();
    assert_eq!(ABROAD.map(|name| calls[name]), [20, 20]);

    lambda.relent();
    advance(1001 * MS).await;
    // The first may be picked before the driver has its turn.
    assert_eq!(failures(&mut balanced, 1).await, 0);
    lambda.calls();
    assert_eq!(failures(&mut balanced, 40).await, 0);
    assert_eq!(HOME.map(|name| lambda.calls.lock().unwrap()[name]), [20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_function_spills_as_much_as_its_tier_lacks() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let strategy = Tiers::new(RoundRobin::starting_at(0));
    let mut balanced = balance_tiers(&lambda, &throttles, &[&HOME, &ABROAD], strategy);
    lambda.throttle("eu-west-1_a", ThrottleReason::ReservedFunctionConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 1001).await, 1);
    let calls = lambda.calls();
    // Half of the tier can take 70 % of the traffic; four standard deviations are 58.
    assert!((642..=758).contains(&calls["eu-west-1_b"]), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn another_account_takes_over_in_the_same_region() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let arn = |account| format!("arn:aws:lambda:eu-west-1:{account}:function:orders");
    let accounts = [arn("111111111111"), arn("222222222222")];
    let [first, second] = accounts.each_ref().map(|name| [name.as_str()]);
    let strategy = Tiers::new(RoundRobin::starting_at(0));
    let mut balanced = balance_tiers(&lambda, &throttles, &[&first, &second], strategy);
    assert_eq!(failures(&mut balanced, 10).await, 0);
    assert_eq!(lambda.calls()[first[0]], 10);
    lambda.throttle("111111111111", ThrottleReason::ConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 10).await, 1);
    assert_eq!(lambda.calls()[second[0]], 9);
}

#[tokio::test(start_paused = true)]
async fn a_region_is_left_alone_as_long_as_it_asks() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let mut balanced = balance(&lambda, &throttles, &["eu-west-1_a", "us-east-1_a"]);
    lambda.throttle("eu-", ThrottleReason::FunctionInvocationRate, Some(10_000 * MS));
    assert_eq!(failures(&mut balanced, 10).await, 1);
    sleep(9_900 * MS).await;
    assert_eq!(failures(&mut balanced, 10).await, 0);
    sleep(200 * MS).await;
    assert_eq!(failures(&mut balanced, 10).await, 1);
}

#[tokio::test(start_paused = true)]
async fn if_all_are_throttled_all_stay() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let mut balanced = balance(&lambda, &throttles, &["eu-west-1_a", "us-east-1_a"]);
    lambda.throttle("", ThrottleReason::ConcurrentInvocations, None);
    assert_eq!(failures(&mut balanced, 10).await, 10);
    lambda.relent();
    assert_eq!(failures(&mut balanced, 10).await, 0, "at once");
}

#[tokio::test(start_paused = true)]
async fn who_calls_too_fast_sheds_and_leaves_nobody_out() {
    let (lambda, throttles) = (Lambda::default(), Throttles::new());
    let inner = {
        let (lambda, name) = (lambda.clone(), "f".parse().unwrap());
        Function::new(move |name: &FunctionName, _: Invocation| ready(lambda.answer(name)), name)
    };
    let functions = discover::list([("f", inner.into())]);
    let balancer = Builder::lambda()
        .track(throttles.track(UntilResponse))
        .spawn(throttles.avoid_throttled(RoundRobin::new()), functions)
        .unwrap();
    let mut service = ServiceBuilder::new().layer(throttles.shed()).service(balancer);
    lambda.throttle("f", ThrottleReason::CallerRate, None);
    for _ in 0..1000 {
        let error = service.ready().await.unwrap().call(Invocation::default()).await.unwrap_err();
        let advice = RetryAdvice::of_error(&*error);
        assert_eq!(advice.remedy(), Remedy::Wait);
        assert!(!advice.may_retry(true), "no target would help");
    }
    let reached = lambda.calls()["f"];
    assert!(reached < 300, "{reached} of 1000 reached the service");
    let status = throttles.status();
    assert_eq!(
        (status.throttled.caller, status.throttled.total()),
        (reached.into(), reached.into())
    );
    assert_eq!((status.shed, status.pauses), (1000 - u64::from(reached), 0));
    assert!(status.shed_share > 0.5, "{status}");
    lambda.relent();
    sleep(Duration::from_secs(100)).await;
    for _ in 0..100 {
        service.ready().await.unwrap().call(Invocation::default()).await.unwrap();
    }
}
