//! A function in two regions, of which the first is preferred. Under load, the first region runs
//! out of concurrency, fails and recovers. The second region takes over meanwhile. Runs without
//! AWS, with a local Lambda service.
//! `cargo run -p tower-lb-lambda-examples --example lambda_multi_region`

use std::{
    cell::Cell,
    collections::HashMap,
    error::Error as StdError,
    time::{Duration, Instant},
};

use tokio::{process::Command, time::sleep};
use tower::{Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::DiscoverExt,
    health::{CircuitBreaker, HealthExt},
    lambda::{
        self, Function, FunctionName, Invocation, InvocationStatus, Throttles, UntilResponse,
        aws::Sdk,
    },
    retry::RetryLayer,
    strategy::{P2c, Tiers},
};
use tower_lb_test_functions::{Fault, Shim, functions};

type BoxError = Box<dyn StdError + Send + Sync>;

fn main() -> Result<(), BoxError> {
    // The processes of the functions run this same program.
    if functions::is_function() {
        return functions::run();
    }
    tokio::runtime::Runtime::new()?.block_on(regions())
}

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
const CALLERS: usize = 8;
const PHASE: Duration = Duration::from_secs(2);

async fn regions() -> Result<(), BoxError> {
    let shim = Shim::start(|| Command::new(std::env::current_exe().unwrap_or_default())).await?;
    REGIONS.iter().for_each(|region| _ = shim.publish(region, "orders", "obey"));

    // With AWS, use your own clients: one per region, with retries off.
    let clients: HashMap<_, _> =
        REGIONS.iter().map(|&region| (region.to_owned(), Sdk::new(shim.client(region)))).collect();
    let function = move |name: &FunctionName| {
        let sdk = name.region().and_then(|region| clients.get(region));
        Function::new(sdk.cloned().unwrap_or_else(|| clients[REGIONS[0]].clone()), name.clone())
    };
    let functions = lambda::functions([
        "arn:aws:lambda:eu-west-1:123456789012:function:orders",
        "arn:aws:lambda:us-east-1:123456789012:function:orders",
    ])?;
    // The home region is the first tier. It is excluded while it is throttled, or while the circuit
    // breaker is open. Traffic that it cannot serve spills into the next tier.
    let endpoints = functions
        .map_endpoints(|name, endpoint| {
            endpoint.with_tier(u32::from(name.region() != Some(REGIONS[0])))
        })
        .connect(function)
        .circuit_broken(
            CircuitBreaker::new()
                .consecutive_failures(3)
                .open_time(Duration::from_millis(500), Duration::from_secs(30)),
        )?;
    let throttles = Throttles::new();
    let balancer = Builder::lambda()
        .track(throttles.track(UntilResponse))
        .spawn(throttles.avoid_throttled(Tiers::new(P2c::default())), endpoints)?;

    // A second attempt goes to the other region, if a retry is safe and can help. The example
    // compares calls with and without it.
    let retry = RetryLayer::builder(InvocationStatus).attempts(2).build()?;
    let retrying = retry.layer(balancer.clone());
    let call = async |attempts: u32| -> (bool, Duration) {
        let invocation = Invocation::from("{}").idempotent();
        let started = Instant::now();
        let invoked = match attempts {
            1 => balancer.clone().oneshot(invocation).await.map_err(BoxError::from),
            _ => retrying.clone().oneshot(invocation).await,
        };
        (invoked.is_ok_and(|invoked| !invoked.is_function_error()), started.elapsed())
    };
    let home = Cell::new(0);
    let phase = async |name: &str, attempts: u32| {
        let callers = (0..CALLERS).map(|_| async {
            let (begun, mut calls) = (Instant::now(), Vec::new());
            while begun.elapsed() < PHASE {
                calls.push(call(attempts).await);
                sleep(Duration::from_millis(2)).await;
            }
            calls
        });
        let calls = futures::future::join_all(callers).await.concat();
        let failed = calls.iter().filter(|(succeeded, _)| !succeeded).count();
        let slow = calls.iter().filter(|(_, took)| *took > Duration::from_millis(100)).count();
        let status = balancer.status();
        let mut at_home = status.endpoints.iter().filter(|one| one.attributes.tier() == 0);
        let at_home = at_home.next().map_or(0, |endpoint| endpoint.outcomes.success);
        let here = at_home - home.replace(at_home);
        let calls = calls.len();
        println!("{name:34} {attempts:8} {calls:8} {here:8} {failed:8} {slow:8}");
    };

    println!("{:34} attempts    calls  at home   failed  >100 ms", "");
    phase("(starting)", 1).await;
    let reason = "ConcurrentInvocationLimitExceeded";
    let exhausted = Fault::Throttle { reason, retry_after: None };
    for attempts in [1, 2] {
        phase("both regions work", attempts).await;
        shim.region_fault(REGIONS[0], Some(exhausted));
        phase("eu-west-1 is out of concurrency", attempts).await;
        shim.region_fault(REGIONS[0], None);
        phase("eu-west-1 has concurrency again", attempts).await;
        shim.region_fault(REGIONS[0], Some(Fault::Cut));
        phase("eu-west-1 cuts all connections", attempts).await;
        shim.region_fault(REGIONS[0], None);
        phase("eu-west-1 works again", attempts).await;
    }
    println!("\n{}", balancer.status());
    Ok(())
}
