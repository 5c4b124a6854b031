//! Backends that are processes of their own and are killed: no request that may be retried fails.
//!
//! Ten seconds of 500 requests a second; for the whole minute of the claim:
//! `KILL_SECONDS=60 KILL_RATE=1000 cargo test --release -p tower-lb-edge-tests --test processes -- --nocapture --test-threads=1 sigkill`
use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hasher},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{Origin, Pool, ResilienceLayer},
    strategy::{P2c, Rng},
    timeout::FirstByteTimeoutLayer,
};

const PORT: &str = "TOWER_LB_TEST_BACKEND";

fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

/// Answers with the hash of what it got, and the trailer that came with it.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(Duration::from_millis(5)).await;
    let Ok(body) = request.into_body().collect().await else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    let trailer = body.trailers().and_then(|trailers| trailers.get("x-number")).cloned();
    let mut response = Response::new(Full::from(hash(&body.to_bytes())));
    trailer.map(|number| response.headers_mut().insert("x-number", number));
    Ok(response)
}

/// Not a test, but what the test starts as a process: this binary again.
#[tokio::test]
async fn backend_process() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse::<u16>().ok()) else {
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

struct Backend {
    address: SocketAddr,
    process: Child,
}

impl Backend {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        Self { address, process: Self::spawn(address) }
    }

    fn spawn(address: SocketAddr) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", &crate::test_path(module_path!(), "backend_process")])
            .env(PORT, address.port().to_string());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn kill(&mut self) {
        // SIGKILL, on unix.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Self::spawn(self.address);
    }

    async fn is_up(&self) {
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The request, and what it is to be answered: a third each have no body, one piece, and a stream with
/// a trailer.
fn request(number: u64, rng: &mut Rng) -> (Request<Body>, String) {
    let size = rng.below(32 << 10);
    let bytes = match number % 3 {
        0 => Vec::new(),
        _ => (0..size).map(|_| rng.bits() as u8).collect(),
    };
    let expected = hash(&bytes);
    let body = if number % 3 == 2 {
        let mut frames: Vec<Result<_, Infallible>> =
            bytes.chunks(5000).map(|part| Ok(Frame::data(Bytes::copy_from_slice(part)))).collect();
        let number = HeaderValue::from(number);
        frames.push(Ok(Frame::trailers(HeaderMap::from_iter([(
            "x-number".parse().unwrap(),
            number,
        )]))));
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    } else {
        Full::from(bytes).boxed_unsync()
    };
    let method = if number % 3 == 0 { Method::GET } else { Method::PUT };
    let request = Request::builder().method(method).uri("/").header("te", "trailers");
    (request.header("trailer", "x-number").body(body).unwrap(), expected)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn killed_backends_go_unnoticed(pool: Pool, version: &str) {
    let (seconds, rate) = (setting("KILL_SECONDS", 10), setting("KILL_RATE", 500));
    let kill_every = Duration::from_secs(seconds.div_ceil(12).max(2));
    let backends = [Backend::start(), Backend::start(), Backend::start()];
    for backend in &backends {
        backend.is_up().await;
    }
    let origins = backends.iter().map(|backend| Origin::from(backend.address));
    let patience = FirstByteTimeoutLayer::new(Duration::from_secs(2));
    let endpoints = discover::addresses(origins)
        .connect(move |origin| patience.layer(pool.client(origin.clone())));
    let balancer = Builder::http().spawn(P2c::default(), endpoints).unwrap();
    let resilience = ResilienceLayer::default();
    let service = resilience.layer(balancer.clone());

    let backends = Arc::new(Mutex::new(backends));
    let killer = tokio::spawn({
        let backends = Arc::clone(&backends);
        async move {
            let mut rng = Rng::seeded(5);
            loop {
                sleep(kill_every.mul_f64(0.7)).await;
                let victim = rng.below(3);
                backends.lock().unwrap()[victim].kill();
                sleep(kill_every.mul_f64(0.3)).await;
                backends.lock().unwrap()[victim].restart();
            }
        }
    });

    let mut rng = Rng::seeded(1);
    let errors = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::new(AtomicU64::new(0));
    let mut clock = interval(Duration::from_secs(1) / rate as u32);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut requests = JoinSet::new();
    for number in 0.. {
        clock.tick().await;
        if Instant::now() >= end {
            break;
        }
        let (request, expected) = request(number, &mut rng);
        let (service, errors) = (service.clone(), Arc::clone(&errors));
        sent.fetch_add(1, Ordering::Relaxed);
        requests.spawn(async move {
            let told = async {
                let response = service.oneshot(request).await?;
                let status = response.status();
                let trailer = response.headers().get("x-number").cloned();
                let body = response.into_body().collect().await?.to_bytes();
                let trailers = number % 3 != 2 || trailer == Some(HeaderValue::from(number));
                let right = status.is_success() && body == expected && trailers;
                let wrong = || format!("{status}, {body:?} for {expected}, trailer {trailer:?}");
                Ok::<_, BoxError>((!right).then(wrong))
            };
            match told.await {
                Ok(None) => {}
                Ok(Some(wrong)) => errors.lock().unwrap().push(format!("{number}: {wrong}")),
                Err(error) => errors.lock().unwrap().push(format!("{number}: {error:?}")),
            }
        });
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
    killer.abort();

    let sent = sent.load(Ordering::Relaxed);
    let attempts: u64 =
        balancer.status().endpoints.iter().map(|endpoint| endpoint.outcomes.total()).sum();
    let unsent: u64 =
        balancer.status().endpoints.iter().map(|endpoint| endpoint.outcomes.transport).sum();
    println!(
        "{version}: {sent} requests, {attempts} attempts, {unsent} of them failed, {:?}",
        resilience.budget()
    );
    let errors = errors.lock().unwrap();
    assert!(errors.is_empty(), "{} errors, the first: {}", errors.len(), errors[0]);
    assert!(unsent > 0, "somebody should have noticed something");
    assert!(attempts as f64 <= sent as f64 * 1.1 + 3.0 * (seconds as f64 + 10.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_1() {
    killed_backends_go_unnoticed(Pool::new(), "HTTP/1.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2() {
    killed_backends_go_unnoticed(Pool::new().http2(), "HTTP/2").await;
}
