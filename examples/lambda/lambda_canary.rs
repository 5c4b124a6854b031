//! A new version of a function gets 5, 50 and then 100 % of the traffic. If it fails more often
//! than the old version, it is rolled back. Runs without AWS, with a local Lambda service.
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
    // The processes of the functions run this same program.
    if functions::is_function() {
        return functions::run();
    }
    tokio::runtime::Runtime::new()?.block_on(canary())
}

/// The duration of each step, and the interval at which the example compares the versions.
const STEP: Duration = Duration::from_secs(2);
const COMPARE_INTERVAL: Duration = Duration::from_millis(50);
/// A rollback needs at least this number of requests at the new version.
const MIN_REQUESTS: u64 = 5;

async fn canary() -> Result<(), BoxError> {
    let shim = Shim::start(|| Command::new(std::env::current_exe().unwrap_or_default())).await?;
    for handler in ["obey", "obey", "broken"] {
        shim.publish("eu-west-1", "orders", handler);
    }

    // With AWS, use your own client here, with retries off.
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

    // These tasks send requests until the example ends.
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
        println!("version {new} replaces version {old}:");
        let (started, failed_before) = (Instant::now(), failed.load(Ordering::Relaxed));
        'steps: for share in [5, 50, 100] {
            set(&versions, &[(old, 100 - share), (new, share)])?;
            let begun = Instant::now();
            while begun.elapsed() < STEP {
                sleep(COMPARE_INTERVAL).await;
                let (figures, before) = (figures(new), figures(old));
                if is_outlier(figures, before) {
                    set(&versions, &[(old, 100)])?;
                    println!("  rolled back after {:?}", started.elapsed());
                    break 'steps;
                }
            }
            let OutcomeCounts { success, application, .. } = figures(new);
            println!("  {share:3} %: {success:5} succeeded, {application:3} failed");
        }
        sleep(STEP / 4).await;
        let failed = failed.load(Ordering::Relaxed) - failed_before;
        println!("  {failed} requests failed\n{}", balancer.status());
    }
    Ok(())
}

/// Returns true if the failure rate of `new` is more than 10 percentage points above that of `old`.
fn is_outlier(new: OutcomeCounts, old: OutcomeCounts) -> bool {
    let rate = |of: OutcomeCounts| of.failures() as f64 / of.total().max(1) as f64;
    new.total() >= MIN_REQUESTS && rate(new) > rate(old) + 0.1
}

/// Sets the versions and their weights. Versions of weight 0 stay, and get no requests.
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
