//! An axum server in front of Lambda functions, in place of an Application Load Balancer. The
//! functions use `lambda_http` and are unchanged. Runs without AWS, with a local Lambda service.
//! `cargo run -p tower-lb-lambda-examples --example lambda_gateway`

use std::{error::Error as StdError, time::Duration};

use axum::Router;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, http::request};
use tokio::{net::TcpListener, process::Command};
use tower::{ServiceBuilder, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::DiscoverExt,
    http::{Origin, Pool},
    lambda::{
        AlbEvent, Function, HttpFunction, Throttles, UntilResponse,
        aws::{AliasVersions, Sdk},
    },
    strategy::RoundRobin,
};
use tower_lb_test_functions::{Alias, Fault, Shim, functions};

type BoxError = Box<dyn StdError + Send + Sync>;

fn main() -> Result<(), BoxError> {
    // The processes of the functions run this same program.
    if functions::is_function() {
        return functions::run();
    }
    tokio::runtime::Runtime::new()?.block_on(gateway())
}

async fn gateway() -> Result<(), BoxError> {
    // A site with two versions, and an alias that sends a quarter of the traffic to the new one.
    let shim = Shim::start(|| Command::new(std::env::current_exe().unwrap_or_default())).await?;
    shim.publish("eu-west-1", "site", "http");
    shim.publish("eu-west-1", "site", "http");
    shim.alias("eu-west-1", "site", "live", Alias { version: 1, additional: Some((2, 0.25)) });

    // With AWS, `client` is your own client, with retries off; the rest stays the same.
    let client = shim.client("eu-west-1");
    let throttles = Throttles::new();
    let versions = AliasVersions::new(client.clone(), "site:live".parse()?)?
        .endpoints()?
        .connect(Function::connector(Sdk::new(client)));
    let balancer = Builder::lambda()
        .fail_fast(Duration::from_secs(1))
        .track(throttles.track(UntilResponse))
        .spawn(throttles.avoid_throttled(RoundRobin::new()), versions)?;
    let invocations = ServiceBuilder::new().layer(throttles.shed()).service(balancer.clone());
    let target_group =
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/site/0123456789abcdef";
    let site = HttpFunction::new(invocations, AlbEvent::new(target_group).multi_value());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let gateway = Origin::from(listener.local_addr()?);
    println!("serving on {gateway}\n");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback_service(site)).await });

    // Send requests, as a client would.
    let client = Pool::new().client::<Full<Bytes>>(gateway);
    let fetch = async |request: request::Builder, body: &'static str| -> Result<(), BoxError> {
        let request = request.body(Full::from(body))?;
        let line = format!("{} {}", request.method(), request.uri());
        let (head, body) = client.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let version = head.headers.get("x-version").and_then(|version| version.to_str().ok());
        let body = String::from_utf8_lossy(&body);
        println!("{line:24} {} v{:1} {}", head.status, version.unwrap_or("-"), body.trim_end());
        Ok(())
    };
    for name in ["Ada", "Grace", "Edsger", "Barbara"] {
        fetch(Request::get(format!("/hello?name={name}")), "").await?;
    }
    fetch(Request::post("/echo").header("content-type", "text/plain"), "hello").await?;
    fetch(Request::get("/nowhere"), "").await?;
    println!("\nthe function fails, then crashes:");
    fetch(Request::get("/fail"), "").await?;
    fetch(Request::get("/crash"), "").await?;
    println!("\nthe account is out of concurrency:");
    let reason = "ConcurrentInvocationLimitExceeded";
    shim.region_fault("eu-west-1", Some(Fault::Throttle { reason, retry_after: Some(2) }));
    fetch(Request::get("/hello"), "").await?;
    shim.region_fault("eu-west-1", None);
    fetch(Request::get("/hello"), "").await?;
    println!("\n{}", balancer.status());
    Ok(())
}
