//! A custom discovery source: any stream of updates is one. This source polls a registry, as it
//! would poll an HTTP API or a database table. The registry is unreachable for a while.
//! `cargo run --example custom_discovery`

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, stream};
use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use tokio::time::{interval, sleep};
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{DiscoverExt, Update},
    endpoint::{Endpoint, Health},
    http::{Origin, Pool},
    strategy::RoundRobin,
};
use tower_lb_examples::backend::Backend;

/// The registry: for each name an address, a weight, and whether the endpoint is draining.
type Registry = Arc<Mutex<Result<BTreeMap<&'static str, (Origin, u32, bool)>, &'static str>>>;

/// Polls the registry every 100 ms and returns the whole set each time. Unchanged endpoints cost
/// nothing in later stages. An error changes no endpoint.
fn poll(
    registry: Registry,
) -> impl Stream<Item = Result<Update<&'static str, Origin>, &'static str>> {
    let ticks = interval(Duration::from_millis(100));
    stream::unfold((registry, ticks), async |(registry, mut ticks)| {
        ticks.tick().await;
        let read = registry.lock().ok()?.clone();
        let update = read.map(|entries| {
            let endpoints = entries.into_iter().map(|(name, (origin, weight, draining))| {
                let endpoint = Endpoint::new(origin).with_weight(weight);
                let draining = draining.then(|| Health::draining("deployment"));
                (name, endpoint.with_health(draining.unwrap_or_default()))
            });
            Update::Reset(endpoints.collect())
        });
        Some((update, (registry, ticks)))
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let latency = Duration::from_millis(1);
    let backends = [
        Backend::start("red", latency).await?,
        Backend::start("green", latency).await?,
        Backend::start("blue", latency).await?,
    ];
    let entry = |index: usize, weight, draining| {
        let backend: &Backend = &backends[index];
        (backend.name, (Origin::from(backend.address), weight, draining))
    };

    let registry: Registry = Arc::new(Mutex::new(Ok([entry(0, 1, false)].into())));
    let endpoints = poll(Arc::clone(&registry)).connect(Pool::new().connector());
    let balancer = Builder::http().spawn(RoundRobin::new(), Box::pin(endpoints))?;

    let steps = [
        ("only red", Ok([entry(0, 1, false)].into())),
        (
            "green joins with three times the weight",
            Ok([entry(0, 1, false), entry(1, 3, false)].into()),
        ),
        ("the registry is down", Err("registry unreachable")),
        (
            "red drains, blue joins",
            Ok([entry(0, 1, true), entry(1, 1, false), entry(2, 1, false)].into()),
        ),
    ];
    for (what, state) in steps {
        if let Ok(mut registry) = registry.lock() {
            *registry = state;
        }
        sleep(Duration::from_millis(500)).await;
        let before: Vec<_> = balancer.status().endpoints;
        for _ in 0..120 {
            let request = Request::new(Empty::<Bytes>::new());
            balancer.clone().oneshot(request).await?;
        }
        let status = balancer.status();
        println!("{what}:");
        for endpoint in &status.endpoints {
            let earlier = before.iter().find(|earlier| earlier.name == endpoint.name);
            let requests = endpoint.outcomes.total() - earlier.map_or(0, |e| e.outcomes.total());
            println!(
                "  {:6} {requests:4} requests, {}",
                endpoint.name,
                endpoint.attributes.health()
            );
        }
        if let Some(error) = status.driver.last_error {
            println!("  discovery error: {error}");
        }
    }
    Ok(())
}
