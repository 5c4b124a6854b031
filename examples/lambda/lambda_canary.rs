//! A new version of a function gets 5, 50, then 100 % of the traffic, and is rolled back if it fails
//! more often than the old one. Runs without AWS, on a Lambda of its own.
//! `cargo run -p tower-lb-lambda-examples --example lambda_canary`

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{process::Command, time::sleep};
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt, Handle},
    endpoint::{Endpoint, OutcomeCounts},
    lambda::{Function, FunctionName, Qualifier, aws::Sdk},
    strategy::RoundRobin,
};
use tower_lb_test_functions::{Shim, functions};

type BoxError = Box<dyn StdError + Send + Sync>;

fn main() -> Result<(), BoxError> {
    // The functions' processes are this very program.
    if functions::is_function() {
        return functions::run();
    }
    tokio::runtime::Runtime::new()?.block_on(canary())
}

/// How long each step is watched, and what is looked at meanwhile.
const STEP: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// So many requests must have been seen before anything is decided.
const ENOUGH: u64 = 5;

async fn canary() -> Result<(), BoxError> {
    let shim = Shim::start(|| Command::new(std::env::current_exe().unwrap_or_default())).await?;
    for handler in ["obey", "obey", "broken"] {
        shim.publish("eu-west-1", "orders", handler);
    }

    // On AWS, the client is one of yours, with retries off.
    let sdk = Sdk::new(shim.client("eu-west-1"));
    let (versions, stream) = discover::channel();
    let balancer =
        Builder::lambda().spawn(RoundRobin::new(), stream.connect(Function::connector(sdk)))?;
    let figures = |version: u64| -> OutcomeCounts {
        let status = balancer.status();
        let name = format!("orders:{version}");
        let mut endpoints = status.endpoints.iter();
        endpoints
            .find(|endpoint| *endpoint.name == *name)
            .map_or_else(Default::default, |e| e.outcomes)
    };

    // Traffic, all the while.
    set(&versions, &[(1, 100)])?;
    let failed = Arc::new(AtomicU32::new(0));
    for _ in 0..8 {
        let (balancer, failed) = (balancer.clone(), Arc::clone(&failed));
        tokio::spawn(async move {
            loop {
                let invoked = balancer.clone().oneshot(r#"{"order":7}"#.into()).await;
                if !invoked.is_ok_and(|invoked| !invoked.is_function_error()) {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    sleep(STEP / 2).await;

    for (old, new) in [(1, 2), (2, 3)] {
        println!("version {new} instead of version {old}:");
        let (started, failed_before) = (Instant::now(), failed.load(Ordering::Relaxed));
        'steps: for share in [5, 50, 100] {
            set(&versions, &[(old, 100 - share), (new, share)])?;
            let begun = Instant::now();
            while begun.elapsed() < STEP {
                sleep(LOOK).await;
                let (figures, before) = (figures(new), figures(old));
                if is_outlier(figures, before) {
                    set(&versions, &[(old, 100)])?;
                    println!("  rolled back after {:?}", started.elapsed());
                    break 'steps;
                }
            }
            let OutcomeCounts { success, application, .. } = figures(new);
            println!("  {share:3} %: {success} succeeded, {application} failed");
        }
        sleep(STEP / 4).await;
        let failed = failed.load(Ordering::Relaxed) - failed_before;
        println!("  {failed} requests failed\n{}", balancer.status());
    }
    Ok(())
}

/// True if the new version fails more often than the old one, by more than 10 percentage points.
fn is_outlier(new: OutcomeCounts, old: OutcomeCounts) -> bool {
    let rate = |of: OutcomeCounts| of.failures() as f64 / of.total().max(1) as f64;
    new.total() >= ENOUGH && rate(new) > rate(old) + 0.1
}

/// The versions and their weights; those of weight 0 stay, and get no requests.
fn set(
    handle: &Handle<FunctionName, FunctionName>,
    weights: &[(u64, u32)],
) -> Result<(), BoxError> {
    let endpoints = weights.iter().map(|&(version, weight)| {
        let name = "orders".parse::<FunctionName>()?.with_qualifier(Qualifier::Version(version));
        Ok((name.clone(), Endpoint::new(name).with_weight(weight)))
    });
    let endpoints: Result<Vec<_>, BoxError> = endpoints.collect();
    Ok(handle.reset(endpoints?)?)
}
