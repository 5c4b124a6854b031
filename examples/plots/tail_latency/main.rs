//! Real HTTP servers on loopback with heavy-tailed service times, and clients that balance requests
//! over them. The example compares strategies of tower-lb and tower's p2c under the same load.
//!
//! `cargo run --release -p tower-lb-plots --example tail_latency -- [seconds]` prints two tables.
//! The first has twenty equal servers. In the second, one of twenty servers is slow, one stalls at
//! random, and one fails immediately. Arrivals are open-loop: a latency starts when the request is
//! due, even if earlier requests are late.

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

/// Requests that a server works on at once; it queues the others.
const WORKERS: usize = 4;
const MEAN_WORK: Duration = Duration::from_millis(40);

/// Load as a share of the capacity of the healthy servers.
const UTILIZATION: f64 = 0.7;

fn main() -> Result<(), BoxError> {
    let seconds = std::env::args().nth(1).map_or(Ok(20.0), |seconds| seconds.parse())?;
    let duration = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Runtime::new()?;
    let trouble = [Trouble::Slow, Trouble::Stalls, Trouble::Fails];
    runtime.block_on(async {
        table("twenty equal servers", &[], duration).await?;
        table("one server is slow, one stalls, one fails", &trouble, duration).await
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
        // New servers, so that no queue of the previous run remains.
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

/// Returns the capacity of all servers in requests a second.
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
