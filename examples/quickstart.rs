//! Three HTTP backends of different speeds get requests at a steady rate. One backend is killed and
//! restarted, and no request fails: `cargo run --example quickstart`.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{task::JoinSet, time::interval};
use tower::{Service, ServiceExt};
use tower_lb::{
    BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{HealthCheck, HealthExt, HttpCheck},
    http::{Origin, Pool, resilient},
    strategy::P2c,
};
use tower_lb_examples::backend::Backend;

const REQUESTS: u64 = 1200;
const PER_SECOND: u64 = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let mut fast = Backend::start("fast", Duration::from_millis(5)).await?;
    let medium = Backend::start("medium", Duration::from_millis(10)).await?;
    let slow = Backend::start("slow", Duration::from_millis(40)).await?;

    // The balancer: the endpoints, their connections and health checks, and the strategy.
    let origins = [&fast, &medium, &slow].map(|b| (b.name, Origin::from(b.address).into()));
    let check = HealthCheck::new(HttpCheck::get("/healthz")?);
    let endpoints = discover::list(origins)
        .connect(Pool::new().connector())
        .health_checked(check.interval(Duration::from_millis(200)))?;
    let balancer = Builder::http().spawn(P2c::peak_ewma(), endpoints)?;
    // Retries failed requests at another endpoint, if that is safe.
    let service = resilient(balancer.clone());

    println!("{PER_SECOND} requests a second for {} s to three backends:", REQUESTS / PER_SECOND);
    println!("  fast     5 ms; killed after 2 s, restarted after 4 s");
    println!("  medium  10 ms");
    println!("  slow    40 ms\n");
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

    let mut table: BTreeMap<(Phase, String), Figures> = BTreeMap::new();
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
    print(&mut table);
    println!("Status of the balancer:\n\n{}", balancer.status());
    Ok(())
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

fn print(table: &mut BTreeMap<(Phase, String), Figures>) {
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
