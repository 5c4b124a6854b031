//! A gateway: an axum server that balances the requests of each route over backends.
//! `cargo run -p tower-lb-framework-examples --example axum_gateway`

use std::{error::Error as StdError, time::Duration};

use axum::{Router, routing::get};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{Gateway, HostHeader, Origin, Pool, resilient},
    strategy::{LeastLoaded, RoundRobin},
};
use tower_lb_examples::backend::Backend;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let latency = Duration::from_millis(2);
    let shop = [Backend::start("shop-1", latency).await?, Backend::start("shop-2", latency).await?];
    let search = [Backend::start("search-1", latency).await?];

    // One balancer per group of backends, with retries. `fail_fast` bounds the wait for an
    // available endpoint; the gateway then responds with 503.
    let balance = |backends: &[Backend]| {
        let origins = backends.iter().map(|b| (b.name, Origin::from(b.address).into()));
        let pool = Pool::new().host_header(HostHeader::Keep);
        discover::list(origins.collect::<Vec<_>>()).connect(pool.connector())
    };
    let builder = || Builder::http().max_outstanding(100).fail_fast(Duration::from_secs(1));
    let shop_balancer = builder().spawn(LeastLoaded::default(), balance(&shop))?;
    let search_balancer = builder().spawn(RoundRobin::new(), balance(&search))?;

    let status = shop_balancer.clone();
    let app = Router::new()
        .nest_service("/search", Gateway::new(resilient(search_balancer)))
        .route("/status", get(async move || status.status().to_string()))
        .fallback_service(Gateway::new(resilient(shop_balancer)));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let gateway = Origin::from(listener.local_addr()?);
    println!("serving on {gateway}\n");
    tokio::spawn(async move { axum::serve(listener, app).await });

    // Send requests, as a client would.
    let client = Pool::new().client::<Empty<Bytes>>(gateway);
    let fetch = async |path: &str| -> Result<(), Box<dyn StdError + Send + Sync>> {
        let request = Request::get(path).body(Empty::new())?;
        let response = client.clone().oneshot(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("GET {path:9} {status}: {}", String::from_utf8_lossy(&body).trim_end());
        Ok(())
    };
    for path in ["/", "/cart", "/", "/cart", "/search?q", "/status"] {
        fetch(path).await?;
    }
    println!("\nall search backends are killed:");
    search.iter().for_each(Backend::kill);
    fetch("/search?q").await
}
