//! The same seeded workload with every strategy. Of 20 endpoints, two are slow, one fails
//! immediately, and one hangs from the fourth second on. Time is virtual, so a run takes seconds
//! and always gives the same figures.
//!
//! `cargo run --release -p tower-lb-plots --example compare_strategies [file.svg]` prints a table.
//! With a file name, it also draws the distribution of latencies.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use plotters::prelude::*;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};
use tower::{Service, ServiceExt, timeout::Timeout};
use tower_lb::{
    Balancer, BoxError, discover,
    endpoint::Endpoint,
    load::{FailureAware, HangAware, PeakEwma},
    strategy::{
        BoundedLoad, Dynamic, LeastLoaded, Maglev, P2c, PickFirst, Random, Rng, RoundRobin, Tiers,
        TopK,
    },
};

const ENDPOINTS: u32 = 20;
const WORKERS: usize = 4;
const MEAN: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const PER_SECOND: f64 = 3000.0;
const REQUESTS: usize = 40_000;
const HANGS_AFTER: Duration = Duration::from_secs(4);
/// The user of a request: one of a thousand.
type Request = u64;

fn strategies() -> Result<Vec<(&'static str, Dynamic<Request>)>, BoxError> {
    let key: fn(&Request) -> Option<u64> = |user| Some(*user);
    let bounded = BoundedLoad::new(Maglev::new(key), 1.25)?;
    let load = FailureAware::new(PeakEwma::new());
    let hang_aware = || FailureAware::new(HangAware::new(PeakEwma::new()));
    Ok(vec![
        ("round robin", Dynamic::new(RoundRobin::starting_at(0))),
        ("random", Dynamic::new(Random)),
        ("pick first", Dynamic::new(PickFirst::new())),
        ("p2c", Dynamic::new(P2c::default())),
        ("p2c, peak EWMA", Dynamic::new(P2c::peak_ewma())),
        ("p2c, hang aware", Dynamic::new(P2c::new(hang_aware()))),
        ("least loaded", Dynamic::new(LeastLoaded::default())),
        ("least time", Dynamic::new(LeastLoaded::peak_ewma())),
        ("least time, hang aware", Dynamic::new(LeastLoaded::new(hang_aware()))),
        ("maglev", Dynamic::new(Maglev::new(key))),
        ("maglev, bounded load", Dynamic::new(bounded)),
        ("best of maglev's three", Dynamic::new(TopK::new(Maglev::new(key), 3, load)?)),
        ("tiers of least time", Dynamic::new(Tiers::new(LeastLoaded::peak_ewma()))),
    ])
}

/// How an endpoint behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Slow,
    FailsFast,
    Hangs,
}

impl Kind {
    fn of(endpoint: u32) -> Self {
        match endpoint {
            0 | 1 => Self::Slow,
            2 => Self::FailsFast,
            3 => Self::Hangs,
            _ => Self::Good,
        }
    }
}

/// A server that works on `WORKERS` requests at a time and queues the others.
#[derive(Clone)]
struct Server {
    number: u32,
    workers: Arc<Semaphore>,
    rng: Arc<Mutex<Rng>>,
    started: Instant,
}

impl Server {
    fn new(number: u32) -> Self {
        let rng = Arc::new(Mutex::new(Rng::seeded(number.into())));
        let workers = Arc::new(Semaphore::new(WORKERS));
        Self { number, workers, rng, started: Instant::now() }
    }
}

impl Service<Request> for Server {
    type Response = u32;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let work = exponential(MEAN, &mut server.rng.lock().unwrap());
            match Kind::of(server.number) {
                Kind::FailsFast => {
                    sleep(Duration::from_millis(1)).await;
                    return Err("out of order".into());
                }
                Kind::Hangs if server.started.elapsed() > HANGS_AFTER => {
                    std::future::pending::<()>().await;
                }
                Kind::Slow => {
                    let _worker = server.workers.acquire().await?;
                    sleep(work * 8).await;
                }
                Kind::Good | Kind::Hangs => {
                    let _worker = server.workers.acquire().await?;
                    sleep(work).await;
                }
            }
            Ok(server.number)
        })
    }
}

fn exponential(mean: Duration, rng: &mut Rng) -> Duration {
    mean.mul_f64(-(1.0 - rng.unit()).ln())
}

/// The results of one strategy.
struct Outcome {
    name: &'static str,
    /// Latencies of successes and of requests that timed out, in ascending order.
    latencies: Vec<Duration>,
    failed: usize,
    /// Requests at each endpoint.
    counts: BTreeMap<u32, u64>,
}

impl Outcome {
    fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies.len() - 1;
        self.latencies[(last as f64 * share) as usize].as_secs_f64() * 1000.0
    }

    fn share(&self, kind: Kind) -> f64 {
        let of_kind = self.counts.iter().filter(|(endpoint, _)| Kind::of(**endpoint) == kind);
        of_kind.map(|(_, count)| *count as f64).sum::<f64>() / REQUESTS as f64 * 100.0
    }

    /// Requests at the busiest good endpoint, divided by the mean of the good endpoints.
    fn imbalance(&self) -> f64 {
        let good = self.counts.iter().filter(|(endpoint, _)| Kind::of(**endpoint) == Kind::Good);
        let good: Vec<f64> = good.map(|(_, count)| *count as f64).collect();
        let mean = good.iter().sum::<f64>() / good.len() as f64;
        good.iter().copied().fold(0.0, f64::max) / mean
    }
}

/// Runs one strategy. Arrival times are random and do not depend on earlier requests.
async fn run(name: &'static str, strategy: Dynamic<Request>) -> Result<Outcome, BoxError> {
    let servers = (0..ENDPOINTS).map(|n| (n, Endpoint::new(Timeout::new(Server::new(n), TIMEOUT))));
    let builder = Balancer::builder().seed(7);
    let (balancer, driver) = builder.build(strategy, discover::list(servers))?;
    let driver = tokio::spawn(driver);
    let (mut rng, mut next) = (Rng::seeded(7), Instant::now());
    let mut requests = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        next += exponential(Duration::from_secs_f64(1.0 / PER_SECOND), &mut rng);
        sleep_until(next).await;
        let (balancer, key) = (balancer.clone(), rng.bits() % 1000);
        requests.push(tokio::spawn(async move {
            let start = Instant::now();
            let result = balancer.oneshot(key).await;
            (result.is_ok(), start.elapsed())
        }));
    }
    let (mut latencies, mut failed) = (Vec::with_capacity(REQUESTS), 0);
    for request in requests {
        let (ok, latency) = request.await?;
        failed += usize::from(!ok);
        if ok || latency >= TIMEOUT {
            latencies.push(latency);
        }
    }
    latencies.sort();
    let status = balancer.status();
    let counts = status.endpoints.iter();
    let counts = counts.map(|one| Ok((one.name.parse()?, one.outcomes.total())));
    let counts = counts.collect::<Result<_, BoxError>>()?;
    driver.abort();
    Ok(Outcome { name, latencies, failed, counts })
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    println!("| strategy | p50 | p99 | p99.9 | errors | imbalance | slow | failing | hanging |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut outcomes = Vec::new();
    for (name, strategy) in strategies()? {
        let outcome = run(name, strategy).await?;
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| outcome.quantile(share));
        let errors = outcome.failed as f64 / REQUESTS as f64 * 100.0;
        let [slow, failing, hanging] =
            [Kind::Slow, Kind::FailsFast, Kind::Hangs].map(|kind| outcome.share(kind));
        println!(
            "| {name} | {p50:.0} ms | {p99:.0} ms | {p999:.0} ms | {errors:.2} % | {:.2} | {slow:.2} % | {failing:.2} % | {hanging:.2} % |",
            outcome.imbalance()
        );
        outcomes.push(outcome);
    }
    if let Some(file) = std::env::args().nth(1) {
        draw(&outcomes, &file)?;
        println!("\nPlot written to {file}");
    }
    Ok(())
}

/// Draws the share of requests that take longer than a latency.
fn draw(outcomes: &[Outcome], file: &str) -> Result<(), BoxError> {
    let area = SVGBackend::new(file, (960, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Share of requests that take longer", ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..2000.0).log_scale(), (1e-4..1.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("latency, ms")
        .y_desc("share of requests")
        .x_label_formatter(&|ms| format!("{ms:.0}"))
        .y_label_formatter(&|share| format!("{} %", share * 100.0))
        .light_line_style(WHITE)
        .draw()?;
    for (index, outcome) in outcomes.iter().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        let count = outcome.latencies.len();
        // The points are evenly spaced in the logarithm of the remaining share.
        let points = (0..200).map(|step| {
            let left = 10_f64.powf(-4.0 * f64::from(step) / 199.0);
            let at = ((1.0 - left) * (count - 1) as f64) as usize;
            (outcome.latencies[at].as_secs_f64().max(0.001) * 1000.0, left)
        });
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(outcome.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}
