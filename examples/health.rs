//! A backend is killed under load. Outlier detection and active checks detect this. After a
//! restart, the backend gets its share of the requests gradually.
//! `cargo run --example health`

use std::{error::Error as StdError, time::Duration};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use tokio::time::{Instant, interval, sleep};
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{HealthCheck, HealthExt, HttpCheck, OutlierDetection, SlowStart},
    http::{Origin, Pool},
    strategy::RoundRobin,
};
use tower_lb_examples::backend::Backend;

type Body = Empty<Bytes>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let millis = Duration::from_millis;
    let mut backends = [
        Backend::start("red", millis(2)).await?,
        Backend::start("green", millis(2)).await?,
        Backend::start("blue", millis(2)).await?,
    ];
    let origins = backends.each_ref().map(|one| (one.name, Origin::from(one.address).into()));

    // The times are short, so that the example is short.
    let check = HealthCheck::new(HttpCheck::<Body>::get("/healthz")?);
    let endpoints = discover::list(origins)
        .connect(Pool::new().connector())
        .health_checked(check.interval(millis(200)))?
        .outlier_detected(OutlierDetection::new().ejection_time(millis(500), millis(4000)))?
        .slow_start(SlowStart::over(millis(1500)))?;
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints)?;

    let load = {
        let balancer = balancer.clone();
        tokio::spawn(async move {
            let mut turns = interval(millis(2));
            let mut failures = 0;
            let end = Instant::now() + millis(6000);
            while Instant::now() < end {
                turns.tick().await;
                let failed = match balancer.clone().oneshot(Request::new(Body::new())).await {
                    Ok(response) => response.into_body().collect().await.is_err(),
                    Err(_) => true,
                };
                failures += u32::from(failed);
            }
            failures
        })
    };

    for (what, pause) in [
        ("all backends are healthy", millis(1800)),
        ("red was killed", millis(1200)),
        ("red was restarted", millis(900)),
        ("1.8 s later", millis(1800)),
    ] {
        match what {
            "red was killed" => backends[0].kill(),
            "red was restarted" => backends[0].restart().await?,
            _ => {}
        }
        sleep(pause).await;
        println!("{what}:\n{}", balancer.status());
    }
    println!("{} requests failed", load.await?);
    Ok(())
}
