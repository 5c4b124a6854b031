//! Real HTTP servers with heavy-tailed service times on loopback, and clients that balance over them:
//! ours in three tiers, and tower's p2c, all under the same load.
//!
//! `cargo run --release -p tower-lb-plots --example tail_latency -- [seconds]` prints two tables: twenty servers that are
//! alike, and twenty of which one is slow, one stands still now and then and one fails at once. Arrivals
//! are open-loop: a latency counts from when a request was due, whatever became of those before.

mod balancers;
mod load;
mod server;

use std::time::Duration;

use balancers::{Kind, Probes};
use load::{Load, Measured};
use server::{Server, Trouble};
use tower_lb::BoxError;

const SERVERS: usize = 20;
const CLIENTS: usize = 10;

/// Each server works on so many requests at once, and queues the others.
const WORKERS: usize = 4;
const MEAN_WORK: Duration = Duration::from_millis(40);

/// Of what healthy servers can do.
const UTILIZATION: f64 = 0.7;

fn main() -> Result<(), BoxError> {
    let seconds = std::env::args().nth(1).map_or(Ok(20.0), |seconds| seconds.parse())?;
    let duration = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Runtime::new()?;
    let trouble = [Trouble::Slow, Trouble::Stalls, Trouble::Fails];
    runtime.block_on(async {
        table("twenty servers", &[], duration).await?;
        table("one slow, one that stalls, one that fails", &trouble, duration).await
    })
}

async fn table(title: &str, troubles: &[Trouble], duration: Duration) -> Result<(), BoxError> {
    let rate = UTILIZATION * capacity(troubles);
    println!("\n{title}, {rate:.0} requests a second, times in ms\n");
    println!(
        "| balancer | p50 | p99 | p99.9 | p99 beyond the work | errors | to the first | probes per request |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for kind in Kind::ALL {
        // New servers, so that none has the queue of the run before.
        let mut servers = Vec::new();
        for index in 0..SERVERS {
            servers.push(Server::start(troubles.get(index).copied()).await?);
        }
        let origins: Vec<_> = servers.iter().map(Server::origin).collect();
        let probes = Probes::default();
        let clients =
            (0..CLIENTS).map(|_| kind.client(&origins, &probes)).collect::<Result<_, _>>()?;
        let measured = Load { rate, duration, clients }.run().await;
        row(kind.name(), &measured, &servers[0], &probes);
    }
    Ok(())
}

/// Requests a second.
fn capacity(troubles: &[Trouble]) -> f64 {
    let speeds = troubles.iter().map(|trouble| trouble.speed());
    let speed = speeds.sum::<f64>() + (SERVERS - troubles.len()) as f64;
    speed * WORKERS as f64 / MEAN_WORK.as_secs_f64()
}

fn row(name: &str, measured: &Measured, first: &Server, probes: &Probes) {
    let ms = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e3);
    let quantile = |share| ms(Measured::quantile(&measured.latencies, share));
    println!(
        "| {name} | {} | {} | {} | {} | {:.2} % | {:.1} % | {:.2} |",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        ms(Measured::quantile(&measured.beyond_work, 0.99)),
        100.0 * measured.failed as f64 / measured.requests as f64,
        100.0 * first.asked() as f64 / measured.sent as f64,
        probes.sent() as f64 / measured.sent as f64,
    );
}
