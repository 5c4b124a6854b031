//! Writes the metrics of a balancer in CloudWatch's embedded metric format, one line each interval.
//!
//! ```sh
//! cargo run -p tower-lb-emf-example --example emf
//! ```

use std::{error::Error, time::Duration};

use tower::{ServiceExt, service_fn};
use tower_lb::{Balancer, BoxError, Endpoint, discover, observe::Registry, strategy::P2c};
use tower_lb_emf_example::Emf;

/// The time between two lines; CloudWatch keeps one value a minute, so a program would say 60 s.
const INTERVAL: Duration = Duration::from_millis(200);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = |fails_each: u32| {
        Endpoint::new(service_fn(move |n: u32| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if n % fails_each == 0 { Err(BoxError::from("refused")) } else { Ok(n) }
        }))
    };
    let endpoints = discover::list([("a", endpoint(1000)), ("b", endpoint(10))]);
    let builder = Balancer::builder().name("users").measure_durations(true);
    let balancer = builder.spawn(P2c::default(), endpoints)?;

    let registry = Registry::new();
    registry.add(&balancer);
    let mut emf = Emf::new("Shop");
    for _ in 0..3 {
        let end = tokio::time::Instant::now() + INTERVAL;
        let mut n = 0;
        while tokio::time::Instant::now() < end {
            n += 1;
            // A failure is what the metrics are to show.
            let _ = balancer.clone().oneshot(n).await;
        }
        for line in emf.lines(&registry.report()) {
            println!("{line}");
        }
    }
    Ok(())
}
