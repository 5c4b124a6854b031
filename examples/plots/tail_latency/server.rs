use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
    serve::ListenerExt,
};
use tokio::{
    net::TcpListener,
    sync::{RwLock, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tower_lb::{
    http::{Origin, ReportLoadLayer},
    strategy::Rng,
};

use super::WORKERS;

/// The fault of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// All requests take three times as long.
    Slow,
    /// The server stalls for a quarter of a second every two seconds, on average.
    Stalls,
    /// All requests fail immediately.
    Fails,
}

impl Trouble {
    /// Returns the speed relative to healthy servers.
    pub(crate) fn speed(self) -> f64 {
        match self {
            Self::Slow => 1.0 / 3.0,
            Self::Stalls => 8.0 / 9.0,
            Self::Fails => 0.0,
        }
    }
}

/// An HTTP server that works for the time that a request names. It reports its requests in flight
/// with each response, and responds to probes. The server stops when it is dropped.
pub(crate) struct Server {
    origin: Origin,
    asked: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Work {
    asked: Arc<AtomicU64>,
    trouble: Option<Trouble>,
    workers: Arc<Semaphore>,
    /// Locked for writing while the server stalls.
    stall: Arc<RwLock<()>>,
}

impl Server {
    pub(crate) async fn start(trouble: Option<Trouble>) -> io::Result<Self> {
        let stall = Arc::<RwLock<()>>::default();
        let workers = Arc::new(Semaphore::new(WORKERS));
        let asked = Arc::<AtomicU64>::default();
        let work = Work { asked: Arc::clone(&asked), trouble, workers, stall: Arc::clone(&stall) };
        let load = ReportLoadLayer::new();
        let (told, gate) = (load.clone(), Arc::clone(&stall));
        let probe = move || async move {
            let _running = gate.read().await;
            [told.header()]
        };
        let app = Router::new()
            .route("/takes/{micros}", get(respond))
            .with_state(work)
            .layer(load)
            .route("/load", get(probe));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = listener.local_addr()?.into();
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        let mut tasks = JoinSet::new();
        tasks.spawn(async { _ = axum::serve(listener, app).await });
        if matches!(trouble, Some(Trouble::Stalls)) {
            tasks.spawn(stall_at_random(stall));
        }
        Ok(Self { origin, asked, _tasks: tasks })
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Returns the number of requests so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn respond(State(work): State<Work>, Path(micros): Path<u64>) -> StatusCode {
    work.asked.fetch_add(1, Ordering::Relaxed);
    let time = Duration::from_micros(micros);
    match work.trouble {
        Some(Trouble::Fails) => {
            sleep(Duration::from_millis(1)).await;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        trouble => {
            let _worker = work.workers.acquire().await;
            sleep(if matches!(trouble, Some(Trouble::Slow)) { 3 * time } else { time }).await;
        }
    }
    let _running = work.stall.read().await;
    StatusCode::OK
}

async fn stall_at_random(stall: Arc<RwLock<()>>) {
    let mut rng = Rng::seeded(1);
    let mut about = |mean: f64| Duration::from_secs_f64(-mean * (1.0 - rng.unit()).ln());
    loop {
        sleep(about(2.0)).await;
        let _still = stall.write().await;
        sleep(about(0.25)).await;
    }
}
