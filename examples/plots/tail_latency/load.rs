use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tower::ServiceExt;
use tower_lb::strategy::Rng;

use super::{MEAN_WORK, balancers::Client};

/// An open-loop load: Poisson arrivals, each at a random client.
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
    pub(crate) clients: Vec<Client>,
}

/// Results of the requests after the first two seconds.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    /// Requests that were sent, including the first two seconds.
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    /// Latencies of successes in ascending order, from the due time to the end of the response.
    pub(crate) latencies: Vec<Duration>,
    /// The same latencies without the time of the work itself.
    pub(crate) beyond_work: Vec<Duration>,
}

const WARM_UP: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);

impl Load {
    pub(crate) async fn run(self) -> Measured {
        let (mut rng, start) = (Rng::seeded(1), Instant::now());
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut due = start;
        let mut measured = Measured::default();
        while due - start < WARM_UP + self.duration {
            due += Duration::from_secs_f64(exponential(&mut rng) / self.rate);
            let work = work(&mut rng);
            let client = self.clients[rng.below(self.clients.len())].clone();
            sleep_until(due).await;
            let counts = due - start > WARM_UP;
            measured.requests += u64::from(counts);
            measured.sent += 1;
            let tell = tell.clone();
            tokio::spawn(async move {
                let good = tokio::time::timeout(TIMEOUT, ask(client, work)).await;
                if counts {
                    _ = tell.send((good.unwrap_or(false), work, due.elapsed()));
                }
            });
        }
        drop(tell);
        while let Some((good, work, latency)) = told.recv().await {
            if good {
                measured.latencies.push(latency);
                measured.beyond_work.push(latency.saturating_sub(work));
            } else {
                measured.failed += 1;
            }
        }
        measured.latencies.sort_unstable();
        measured.beyond_work.sort_unstable();
        measured
    }
}

async fn ask(client: Client, work: Duration) -> bool {
    let uri = format!("/takes/{}", work.as_micros());
    let Ok(request) = Request::get(uri).body(String::new()) else { return false };
    let Ok(response) = client.oneshot(request).await else { return false };
    response.status() == StatusCode::OK && response.into_body().collect().await.is_ok()
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

/// Lognormal with a sigma of 1: one request in a hundred takes more than ten times the median.
fn work(rng: &mut Rng) -> Duration {
    let normal = (2.0 * exponential(rng)).sqrt() * (std::f64::consts::TAU * rng.unit()).cos();
    MEAN_WORK.mul_f64((normal - 0.5).exp().min(50.0))
}

impl Measured {
    /// Returns the latency that `share` of the requests do not exceed.
    pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
        let at = (sorted.len() as f64 * share) as usize;
        sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
