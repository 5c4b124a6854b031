//! Three HTTP backends of different speeds get requests at a steady rate. One backend is killed and
//! restarted, and no request fails: `cargo run --example quickstart`.
//!
//! With `-- --metrics 127.0.0.1:9090` it goes on until Ctrl-C, and serves a page that shows the
//! backends at `/`, and metrics for Prometheus at `/metrics`.

use std::{
    collections::BTreeMap,
    env,
    error::Error as StdError,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{task::JoinSet, time::interval};
use tower::{Layer, Service, ServiceExt};
use tower_lb::{
    BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{HealthCheck, HealthExt, HttpCheck},
    http::{Origin, Pool, ResilienceLayer},
    observe::{Dashboard, Registry},
    strategy::P2c,
};
use tower_lb_examples::{backend::Backend, server};

const REQUESTS: u64 = 1200;
const PER_SECOND: u64 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let metrics = metrics_address()?;
    let mut fast = Backend::start("fast", Duration::from_millis(5)).await?;
    let medium = Backend::start("medium", Duration::from_millis(10)).await?;
    let slow = Backend::start("slow", Duration::from_millis(40)).await?;

    // The balancer: the endpoints, their connections and health checks, and the strategy.
    let origins = [&fast, &medium, &slow].map(|b| (b.name, Origin::from(b.address).into()));
    let check = HealthCheck::new(HttpCheck::get("/healthz")?);
    let endpoints = discover::list(origins)
        .connect(Pool::new().connector())
        .health_checked(check.interval(Duration::from_millis(200)))?;
    let checks = endpoints.figures();
    let builder = Builder::http().name("quickstart").measure_durations(metrics.is_some());
    let balancer = builder.spawn(P2c::peak_ewma(), endpoints)?;
    // Retries failed requests at another endpoint, if that is safe.
    let resilience = ResilienceLayer::default();
    let service = resilience.layer(balancer.clone());

    // What operators see; nothing here runs while a request is served.
    let registry = Registry::new();
    registry.add(&balancer);
    registry.add(&resilience);
    registry.add(&checks);
    if let Some(address) = metrics {
        let address = server::spawn(address, Dashboard::new(&registry)).await?;
        println!("dashboard on http://{address}/, metrics on http://{address}/metrics\n");
    }

    println!("{PER_SECOND} requests a second for {} s to three backends:", REQUESTS / PER_SECOND);
    println!("  fast     5 ms; killed after 2 s, restarted after 4 s");
    println!("  medium  10 ms");
    println!("  slow    40 ms\n");
    loop {
        let mut table = send_all(&service, &mut fast).await?;
        print(&mut table);
        println!("Status of the balancer:\n\n{}", balancer.status());
        if metrics.is_none() {
            return Ok(());
        }
    }
}

/// Returns the address after `--metrics`, if there is one.
fn metrics_address() -> Result<Option<SocketAddr>, BoxError> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => Ok(None),
        [flag, address] if flag == "--metrics" => Ok(Some(address.parse()?)),
        _ => Err("usage: quickstart [--metrics ADDRESS:PORT]".into()),
    }
}

type Table = BTreeMap<(Phase, String), Figures>;

/// Sends all requests, and kills and restarts a backend meanwhile.
async fn send_all<S, B>(service: &S, fast: &mut Backend) -> Result<Table, BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = hyper::Response<B>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: hyper::body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    let progress = ProgressBar::new(REQUESTS)
        .with_style(ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} {msg}")?);
    let mut requests = JoinSet::new();
    let mut ticks = interval(Duration::from_micros(1_000_000 / PER_SECOND));
    for n in 0..REQUESTS {
        ticks.tick().await;
        match n / PER_SECOND {
            2 if n % PER_SECOND == 0 => {
                fast.kill();
                progress.set_message("fast is down");
            }
            4 if n % PER_SECOND == 0 => {
                fast.restart().await?;
                progress.set_message("fast is back");
            }
            _ => {}
        }
        let (service, phase) = (service.clone(), Phase::of(n / PER_SECOND));
        requests.spawn(async move { (phase, send(service).await) });
        progress.inc(1);
    }
    progress.finish_and_clear();

    let mut table = Table::new();
    for (phase, result) in requests.join_all().await {
        let (endpoint, latency) = match result {
            Ok((name, latency)) => (name, Some(latency)),
            Err(error) => {
                let failed = tower_lb::Error::find(&*error).and_then(tower_lb::Error::endpoint);
                (failed.unwrap_or_default().to_owned(), None)
            }
        };
        let figures = table.entry((phase, endpoint)).or_default();
        match latency {
            Some(latency) => figures.latencies.push(latency),
            None => figures.errors += 1,
        }
    }
    Ok(table)
}

/// Sends one request; returns the name of the backend and the latency.
async fn send<S, B>(mut service: S) -> Result<(String, Duration), BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = hyper::Response<B>, Error = BoxError>,
    B: hyper::body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let start = Instant::now();
    let response = service.ready().await?.call(Request::new(Empty::new())).await?;
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Ok((String::from_utf8_lossy(&body).into_owned(), start.elapsed()))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    AllUp,
    FastDown,
    FastBack,
}

impl Phase {
    fn of(second: u64) -> Self {
        match second {
            0..2 => Self::AllUp,
            2..4 => Self::FastDown,
            _ => Self::FastBack,
        }
    }
}

#[derive(Default)]
struct Figures {
    latencies: Vec<Duration>,
    errors: usize,
}

fn print(table: &mut Table) {
    for (phase, title) in [
        (Phase::AllUp, "all are up"),
        (Phase::FastDown, "fast is down"),
        (Phase::FastBack, "fast is back"),
    ] {
        println!("{title:14} requests   share       p50       p99   errors");
        let rows = table.iter_mut().filter(|((of, _), _)| *of == phase);
        let rows: Vec<_> = rows.map(|((_, name), figures)| (name, figures)).collect();
        let count = |figures: &Figures| figures.latencies.len() + figures.errors;
        let total: usize = rows.iter().map(|(_, figures)| count(figures)).sum();
        for (name, figures) in rows {
            let share = 100.0 * count(figures) as f64 / total as f64;
            figures.latencies.sort_unstable();
            let quantile = |q: f64| {
                let index = (figures.latencies.len() as f64 * q) as usize;
                figures.latencies.get(index).map_or_else(|| "-".into(), |t| format!("{t:.1?}"))
            };
            let (p50, p99) = (quantile(0.5), quantile(0.99));
            let (requests, errors) = (count(figures), figures.errors);
            println!("  {name:12} {requests:8}  {share:5.1}%  {p50:>8}  {p99:>8}  {errors:7}");
        }
        println!();
    }
}
