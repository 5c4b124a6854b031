//! Endpoints from a file that changes while requests are sent. An endpoint joins, the file is
//! invalid for a while, and an endpoint drains.
//! `cargo run -p tower-lb-framework-examples --example discovery`

use std::{error::Error as StdError, fs, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use tokio::time::sleep;
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{DiscoverExt, File},
    http::{Origin, Pool},
    strategy::RoundRobin,
};
use tower_lb_examples::backend::Backend;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let latency = Duration::from_millis(1);
    let red = Backend::start("red", latency).await?;
    let green = Backend::start("green", latency).await?;
    let entry = |backend: &Backend, more: &str| {
        let Backend { name, address, .. } = backend;
        format!("[[endpoints]]\nname = \"{name}\"\naddress = \"{address}\"\n{more}\n")
    };

    let path = std::env::temp_dir().join(format!("endpoints-{}.toml", std::process::id()));
    fs::write(&path, entry(&red, ""))?;
    let file = File::new(&path).interval(Duration::from_millis(100)).watch::<Origin>()?;
    let status = file.status();
    let endpoints = file.connect(Pool::new().connector());
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints)?;

    let both = entry(&red, "") + &entry(&green, "weight = 3");
    let steps = [
        ("only red", entry(&red, "")),
        ("green joins with three times the weight", both.clone()),
        ("the file is invalid", both + "[[endpoints]]\nadress = \"10.0.0.1:80\"\n"),
        ("red drains", entry(&red, "health = \"draining\"") + &entry(&green, "")),
    ];
    for (what, content) in steps {
        fs::write(&path, content)?;
        sleep(Duration::from_millis(500)).await;
        let before = balancer.status().endpoints;
        for _ in 0..100 {
            balancer.clone().oneshot(Request::new(Empty::<Bytes>::new())).await?;
        }
        println!("{what}:");
        for endpoint in balancer.status().endpoints {
            let earlier = before.iter().find(|earlier| earlier.name == endpoint.name);
            let requests = endpoint.outcomes.total() - earlier.map_or(0, |e| e.outcomes.total());
            println!(
                "  {:6} {requests:3} requests, {}",
                endpoint.name,
                endpoint.attributes.health()
            );
        }
        match status.report().last_error {
            Some(error) => println!("  {error}"),
            None => println!("  file read {:?} ago", status.age().unwrap_or_default()),
        }
    }
    fs::remove_file(&path)?;
    Ok(())
}
