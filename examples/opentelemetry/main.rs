//! Spans of requests and attempts, exported by OpenTelemetry. A backend is down, so requests to it
//! are retried. `cargo run -p tower-lb-opentelemetry-example --example opentelemetry`

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tower::{Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover,
    http::{
        Origin, Pool, ResilienceLayer,
        trace::{TraceAttempts, TraceExt, TraceRequestsLayer, UrlTemplate},
    },
    strategy::RoundRobin,
};
use tower_lb_examples::backend::Backend;
use tower_lb_opentelemetry_example::{propagate, subscriber};

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    // A program that sends its spans to a collector has the exporter of `opentelemetry-otlp` here.
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    tracing::subscriber::set_global_default(subscriber(&provider))?;

    let red = Backend::start("red", Duration::from_millis(2)).await?;
    let green = Backend::start("green", Duration::from_millis(2)).await?;
    red.kill();

    let origins = [&red, &green].map(|b| (b.name, Origin::from(b.address).into()));
    let endpoints = discover::list(origins)
        .connect_traced(TraceAttempts::new().propagate(propagate), Pool::new().connector());
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), endpoints)?;
    let service = ResilienceLayer::default().layer(balancer);
    let service = TraceRequestsLayer::new("colours").layer(service);

    let request = Request::get("/items/7?token=secret").extension(UrlTemplate::new("/items/{id}"));
    let response = service.oneshot(request.body(Empty::<Bytes>::new())?).await?;
    println!("{}\n", response.status());

    for span in exporter.get_finished_spans()? {
        println!("{:?} span {:?}", span.span_kind, span.name);
        for attribute in &span.attributes {
            if attribute.key.as_str().contains(['.']) && !attribute.key.as_str().starts_with("code")
            {
                println!("  {} = {}", attribute.key, attribute.value);
            }
        }
    }
    Ok(())
}
