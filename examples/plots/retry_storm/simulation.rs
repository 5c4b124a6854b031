//! Overloaded servers and clients that retry, in virtual time.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, Response, StatusCode};
use tokio::{
    runtime,
    sync::{Semaphore, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_lb::{
    balance::Builder,
    discover,
    endpoint::Endpoint,
    http::{HttpStatus, ReplayBody, ResilienceLayer},
    limit::AdaptiveThrottleLayer,
    load::Outstanding,
    retry::Budget,
    strategy::{P2c, Rng},
    timeout::FirstByteTimeoutLayer,
};

pub(crate) const SERVERS: usize = 4;
const WORKERS: usize = 20;
/// Mean time that a worker needs for a request, and the time to reject one.
const WORK: Duration = Duration::from_millis(100);
const REJECTION: Duration = Duration::from_millis(25);
/// A server rejects requests while `QUEUE` requests wait for its workers.
const QUEUE: usize = 20;
/// The longest time that a client waits for one attempt. The server finishes the work anyway.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests a second that the servers can serve.
pub(crate) const CAPACITY: f64 = (SERVERS * WORKERS) as f64 * 1000.0 / 100.0;

/// How clients retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Never,
    Unlimited,
    Budget,
    BudgetAndThrottle,
}

impl Client {
    pub(crate) const ALL: [Self; 4] =
        [Self::Never, Self::Unlimited, Self::Budget, Self::BudgetAndThrottle];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Never => "no retries",
            Self::Unlimited => "3 retries, no budget",
            Self::Budget => "3 retries, budget of 10 %",
            Self::BudgetAndThrottle => "the same, and throttling",
        }
    }
}

/// Load as a share of the capacity, and the duration in seconds.
pub(crate) type Phases = [(f64, u64); 3];

/// Counts of one second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    pub(crate) requests: u32,
    pub(crate) attempts: u32,
    pub(crate) good: u32,
}

pub(crate) fn run(client: Client, phases: Phases, seed: u64) -> Vec<Second> {
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(simulate(client, phases, seed))
}

/// Returns the seconds from the end of the overload to the first three consecutive seconds in which
/// at least 95 % of the requests succeed. `None` means no recovery.
pub(crate) fn recovery(seconds: &[Second], phases: Phases) -> Option<usize> {
    let after = &seconds[(phases[0].1 + phases[1].1) as usize..];
    let fine = |second: &Second| f64::from(second.good) >= 0.95 * f64::from(second.requests);
    after.windows(3).position(|seconds| seconds.iter().all(fine))
}

/// Returns the successes a second and the attempts per request during the overload, without its
/// first ten seconds.
pub(crate) fn under_overload(seconds: &[Second], phases: Phases) -> (f64, f64) {
    let (from, to) = (phases[0].1 as usize + 10, (phases[0].1 + phases[1].1) as usize);
    let sum = |of: fn(&Second) -> u32| seconds[from..to].iter().map(of).sum::<u32>();
    let (good, attempts, requests) =
        (sum(|second| second.good), sum(|second| second.attempts), sum(|second| second.requests));
    (f64::from(good) / (to - from) as f64, f64::from(attempts) / f64::from(requests))
}

#[derive(Clone)]
struct Record {
    began: Instant,
    seconds: Arc<Mutex<Vec<Second>>>,
}

impl Record {
    fn count(&self, at: Instant, what: fn(&mut Second) -> &mut u32) {
        let index = (at - self.began).as_secs() as usize;
        if let Some(second) = self.seconds.lock().expect("no panic").get_mut(index) {
            *what(second) += 1;
        }
    }
}

async fn simulate(client: Client, phases: Phases, seed: u64) -> Vec<Second> {
    let total = phases.iter().map(|(_, seconds)| *seconds).sum::<u64>();
    let seconds = Arc::new(Mutex::new(vec![Second::default(); total as usize]));
    let record = Record { began: Instant::now(), seconds };
    let servers = (0..SERVERS).map(|n| {
        let timeout = FirstByteTimeoutLayer::new(ATTEMPT_TIMEOUT);
        (n, Endpoint::new(timeout.layer(server(record.clone(), seed + n as u64))))
    });
    // Failures do not count as load, because all servers are equally overloaded.
    let strategy = P2c::new(Outstanding);
    let balancer = Builder::http().seed(seed).spawn(strategy, discover::list(servers));
    let balancer = balancer.expect("no contradictions");

    let (attempts, budget) = match client {
        Client::Never => (1, Budget::default()),
        Client::Unlimited => (4, Budget::unlimited()),
        Client::Budget | Client::BudgetAndThrottle => (4, Budget::default()),
    };
    let resilience = ResilienceLayer::builder().attempts(attempts).budget(budget).seed(seed);
    let resilience = resilience.build().expect("no contradictions");
    if client == Client::BudgetAndThrottle {
        let throttle =
            AdaptiveThrottleLayer::new(HttpStatus, 2.0).expect("no contradictions").seed(seed);
        arrivals(resilience.layer(throttle.layer(balancer)), &record, phases, seed).await;
    } else {
        arrivals(resilience.layer(balancer), &record, phases, seed).await;
    }
    std::mem::take(&mut *record.seconds.lock().expect("no panic"))
}

/// Sends requests at random times that do not depend on earlier responses.
async fn arrivals<S, B>(service: S, record: &Record, phases: Phases, seed: u64)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Future: Send>,
    S: Clone + Send + 'static,
    S::Error: Send,
    B: Send,
{
    let mut rng = Rng::seeded(seed);
    let mut next = Instant::now();
    for (load, seconds) in phases {
        let end = next + Duration::from_secs(seconds);
        while next < end {
            sleep_until(next).await;
            record.count(next, |second| &mut second.requests);
            let (service, record) = (service.clone(), record.clone());
            tokio::spawn(async move {
                let response = service.oneshot(Request::new(Empty::new())).await;
                if response.is_ok_and(|response| response.status().is_success()) {
                    record.count(Instant::now(), |second| &mut second.good);
                }
            });
            next += exponential(Duration::from_secs_f64(1.0 / (load * CAPACITY)), &mut rng);
        }
        next = end;
    }
}

fn exponential(mean: Duration, rng: &mut Rng) -> Duration {
    mean.mul_f64(-(1.0 - rng.unit()).ln())
}

type Body = ReplayBody<Empty<Bytes>>;

/// A server with workers and a queue. A rejection also takes a worker some time.
fn server(
    record: Record,
    seed: u64,
) -> impl Service<Request<Body>, Response = Response<Empty<Bytes>>, Error = Infallible, Future: Send>
+ Clone {
    let workers = Arc::new(Semaphore::new(WORKERS));
    let waiting = Arc::new(AtomicUsize::new(0));
    let rng = Arc::new(Mutex::new(Rng::seeded(seed)));
    service_fn(move |_: Request<Body>| {
        record.count(Instant::now(), |second| &mut second.attempts);
        let workers = Arc::clone(&workers);
        let waiting = Arc::clone(&waiting);
        let accepted = waiting.fetch_add(1, Ordering::Relaxed) < QUEUE;
        let work = if accepted {
            exponential(WORK, &mut rng.lock().expect("no panic"))
        } else {
            REJECTION
        };
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let worker = workers.acquire().await;
            waiting.fetch_sub(1, Ordering::Relaxed);
            sleep(work).await;
            drop(worker);
            let _ = sender.send(());
        });
        async move {
            let _ = receiver.await;
            let mut response = Response::new(Empty::new());
            if !accepted {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(response)
        }
    })
}
