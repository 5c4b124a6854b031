//! Prints the memory that balancers hold while their endpoints change, as a Markdown table with a
//! row every ten seconds.
//!
//! Usage: `soak [SECONDS] [CASE]`. Without a case, all cases run one after the other.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env, fs,
    future::Future,
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use tokio::{
    runtime,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tower::{Service, ServiceExt};
use tower_lb::{
    Balancer, BoxError,
    discover::{self, Channel, Discover, Handle},
    endpoint::{Endpoint, Health, Locality},
    health::{
        CircuitBreaker, Draining, HealthCheck, HealthExt, OutlierDetection, OverloadBackoff,
        SlowStart,
    },
    http::{
        HttpStatus,
        sticky::{SessionKey, Sessions},
    },
    outcome::{Attempt, Attempts, Follow, LoadReport, OnResponse, Track},
    strategy::{
        Freshest, LeastLoaded, Maglev, P2c, Pick, Strategy, Tiers, ZonalShift, ZonalShiftHandle,
        ZoneAware, stable_hash,
    },
};

/// The number of changes per second, and the number of tasks that send requests.
const CHANGES_PER_SECOND: u32 = 820;
const CALLERS: u64 = 64;
/// The time that a request takes, and the pause of a caller between two requests.
const SERVICE_TIME: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(15);
const ROW: Duration = Duration::from_secs(10);
/// The time in which stages find out what endpoints are like before the first row.
const WARM_UP: Duration = Duration::from_secs(15);
const MANY: u64 = 100_000;
/// The number of endpoints where one change takes time in proportion to the number of endpoints.
const FEWER: u64 = 10_000;
const ZONES: [&str; 3] = ["a", "b", "c"];

type Case = (&'static str, fn(Duration));

const CASES: [Case; 9] = [
    ("p2c", |time| churn(time, MANY, OnResponse::new(HttpStatus), P2c::default(), |plain| plain)),
    ("least-loaded", |time| {
        churn(time, MANY, OnResponse::new(HttpStatus), LeastLoaded::default(), |plain| plain)
    }),
    ("freshest", |time| churn(time, FEWER, Reporting, Freshest::default(), |plain| plain)),
    ("maglev", |time| {
        let key = |request: &Request<()>| request.headers().get("key").map(stable_key);
        churn(time, FEWER, OnResponse::new(HttpStatus), Maglev::new(key), |plain| plain)
    }),
    ("zones", |time| {
        let strategy = Tiers::new(ZoneAware::new(locality(0), P2c::default()));
        churn(time, FEWER, OnResponse::new(HttpStatus), strategy, |plain| plain)
    }),
    ("stages", |time| churn(time, FEWER, OnResponse::new(HttpStatus), P2c::default(), watched)),
    ("sticky", |time| {
        let key = SessionKey::new([7; 32]).expect("a key");
        let sessions = Sessions::builder(key).build().expect("valid");
        let tracker = sessions.track(OnResponse::new(HttpStatus));
        churn(time, FEWER, tracker, sessions.stick(P2c::default()), |plain| plain)
    }),
    ("balancers", balancers),
    ("threads", threads),
];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(60), |seconds| seconds.parse());
    let name = arguments.next();
    let cases: Vec<&Case> =
        CASES.iter().filter(|(case, _)| name.as_ref().is_none_or(|name| name == case)).collect();
    let (Ok(seconds), false) = (seconds, cases.is_empty()) else {
        let names = CASES.map(|(case, _)| case).join(", ");
        eprintln!("usage: soak [SECONDS] [CASE]; the cases are {names}");
        return ExitCode::FAILURE;
    };
    for (case, run) in cases {
        println!("\n{case}\n");
        run(Duration::from_secs(seconds));
        trim();
        row("all dropped, trimmed", 0, 0);
    }
    ExitCode::SUCCESS
}

type Targets = Channel<u64, Backend>;

/// Changes endpoints and sends requests, on one thread.
fn churn<T, St, D>(
    time: Duration,
    count: u64,
    tracker: T,
    strategy: St,
    stages: impl FnOnce(Targets) -> D,
) where
    T: Track<Response<()>, Response = Response<()>> + Follow<Request<()>> + Clone + Send + 'static,
    St: Strategy<Picker: Pick<Request<()>> + Send + Sync> + Send + 'static,
    D: Discover<Key = u64, Target = Backend, Error: Into<BoxError>> + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (handle, targets) = discover::channel();
        handle.reset((0..count).map(|id| (id, endpoint(id)))).expect("connected");
        let builder = Balancer::builder().track(tracker).seed(1);
        let balancer = builder.spawn(strategy, stages(targets)).expect("valid");
        let mut tasks = JoinSet::new();
        for caller in 0..CALLERS {
            tasks.spawn(call(balancer.clone(), caller));
        }
        // What is changed in place takes more memory: the first row is of a set in which all
        // endpoints have been through that.
        for tick in 0..count {
            change(&handle, count, tick);
            if tick % 1000 == 999 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        sleep(WARM_UP).await;
        heading("changes", "requests");
        let start = Instant::now();
        let mut ticks = interval(Duration::from_secs(7) / (3 * CHANGES_PER_SECOND));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut tick, mut row_at) = (0, ROW);
        while start.elapsed() < time {
            ticks.tick().await;
            change(&handle, count, count + tick);
            tick += 1;
            if start.elapsed() >= row_at {
                row(&row_at.as_secs().to_string(), tick * 7 / 3, REQUESTS.load(Relaxed));
                row_at += ROW;
            }
        }
        tasks.shutdown().await;
        drop(balancer);
        // The driver ends when the last balancer is gone.
        sleep(Duration::from_millis(10)).await;
    });
    drop(runtime);
    row("all dropped", 0, 0);
}

/// Replaces the oldest endpoint, or changes one in place every third time.
fn change(handle: &Handle<u64, Backend>, count: u64, tick: u64) {
    let next = count + tick;
    let known = next - 1 - stable_hash(tick.to_le_bytes()) % (count / 2);
    let changed = match tick % 9 {
        2 => endpoint(known).with_health(Health::unhealthy("maintenance")),
        5 => endpoint(known).with_health(Health::draining("deploy")),
        8 => endpoint(known).with_metadata("version", tick.to_string()),
        _ => endpoint(known),
    };
    let replaced = handle.insert(next, endpoint(next)).and(handle.remove(tick));
    let sent = if tick % 3 == 2 { replaced.and(handle.insert(known, changed)) } else { replaced };
    sent.expect("the driver has the stream");
}

/// Sends requests, with a session of a hundred requests each where cookies are set.
async fn call<S>(mut balancer: S, caller: u64)
where
    S: Service<Request<()>, Response = Response<()>>,
{
    let mut cookie = None;
    for number in caller * 1_000_000.. {
        let mut request = Request::new(());
        request.headers_mut().insert("key", number.into());
        if let Some(cookie) = &cookie {
            request.headers_mut().insert(header::COOKIE, Clone::clone(cookie));
        }
        if let Ok(ready) = balancer.ready().await
            && let Ok(response) = ready.call(request).await
        {
            cookie = response.headers().get(header::SET_COOKIE).cloned().or(cookie);
        }
        if number % 100 == 0 {
            cookie = None;
        }
        REQUESTS.fetch_add(1, Relaxed);
        sleep(PAUSE).await;
    }
}

fn endpoint(id: u64) -> Endpoint<Backend> {
    Endpoint::new(Backend(Arc::new(EndpointId::new(id))))
        .with_weight(1 + (id % 3) as u32)
        .with_tier((id % 2) as u32)
        .with_locality(locality(id))
}

fn locality(id: u64) -> Locality {
    Locality::new("region", ZONES[(id % 3) as usize])
}

fn stable_key(value: &http::HeaderValue) -> u64 {
    stable_hash(value.as_bytes())
}

/// All stages of health, in the order in which they are documented.
fn watched(targets: Targets) -> impl Discover<Key = u64, Target = Backend, Error: Into<BoxError>> {
    let check = |backend: Backend| async move {
        sleep(SERVICE_TIME).await;
        if backend.0.is_down() { Err("down") } else { Ok(()) }
    };
    let checks = HealthCheck::new(check).interval(Duration::from_secs(5));
    targets
        .health_checked(checks)
        .and_then(|stages| stages.outlier_detected(OutlierDetection::new()))
        .and_then(|stages| stages.circuit_broken(CircuitBreaker::new()))
        .and_then(|stages| stages.overload_backoff(OverloadBackoff::new()))
        .and_then(|stages| stages.slow_start(SlowStart::over(Duration::from_secs(5))))
        .and_then(|stages| stages.drained(Draining::within(Duration::from_secs(5))))
        .expect("valid settings")
}

/// Creates 10 000 balancers of ten endpoints, sends a request to each and drops them, again and
/// again. They share the handle of a zonal shift, as the balancers of one program may.
fn balancers(time: Duration) {
    const BALANCERS: u64 = 10_000;
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let shift = ZonalShiftHandle::new();
    runtime.block_on(async {
        heading("balancers", "requests");
        let start = Instant::now();
        let mut created = 0;
        while start.elapsed() < time {
            let mut all = Vec::new();
            for _ in 0..BALANCERS {
                let (handle, targets): (_, Targets) = discover::channel();
                handle.reset((0..10).map(|id| (id, endpoint(id)))).expect("connected");
                let strategy = ZonalShift::new(P2c::default()).following(&shift);
                let builder = Balancer::builder().track(OnResponse::new(HttpStatus));
                all.push((builder.spawn(strategy, targets).expect("valid"), handle));
                created += 1;
            }
            for (balancer, _) in &mut all {
                let ready = balancer.ready().await.expect("endpoints");
                tokio::spawn(ready.call(Request::new(())));
                REQUESTS.fetch_add(1, Relaxed);
            }
            sleep(2 * SERVICE_TIME).await;
            row("created", created, REQUESTS.load(Relaxed));
            drop(all);
            // The drivers end when their balancers are gone.
            let patience = Instant::now() + ROW;
            while INSTANCES.load(Relaxed) > 0 && Instant::now() < patience {
                sleep(SERVICE_TIME).await;
            }
            row("dropped", created, REQUESTS.load(Relaxed));
            sleep_until((Instant::now() + ROW / 4).min(start + time)).await;
        }
    });
    drop((shift, runtime));
    row("all dropped", 0, 0);
}

/// Sends requests from threads that come and go, which costs the snapshot's pointer a list of debts
/// for each thread that was alive at the same time.
fn threads(time: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let endpoints = discover::list((0..10).map(|id| (id, endpoint(id))));
    let (balancer, driver) = Balancer::builder()
        .track(OnResponse::new(HttpStatus))
        .build(P2c::default(), endpoints)
        .expect("valid");
    runtime.block_on(driver);
    heading("threads", "requests");
    let (start, mut row_at, mut started) = (Instant::now(), ROW, 0);
    while start.elapsed() < time {
        let spawned = [(); 16].map(|()| {
            let mut balancer = balancer.clone();
            std::thread::spawn(move || {
                drop(balancer.call(Request::new(())));
                REQUESTS.fetch_add(1, Relaxed);
            })
        });
        started += spawned.len() as u64;
        spawned.into_iter().for_each(|thread| thread.join().expect("no panic"));
        if start.elapsed() >= row_at {
            row(&row_at.as_secs().to_string(), started, REQUESTS.load(Relaxed));
            row_at += ROW;
        }
    }
    drop((balancer, runtime));
    row("all dropped", 0, 0);
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// One endpoint's service, which all its clones share; the number of them that are alive tells
/// whether removed endpoints are kept.
struct EndpointId {
    id: u64,
}

static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl EndpointId {
    fn new(id: u64) -> Self {
        INSTANCES.fetch_add(1, Relaxed);
        Self { id }
    }

    /// One in a hundred fails.
    fn is_down(&self) -> bool {
        self.id % 100 == 7
    }
}

impl Drop for EndpointId {
    fn drop(&mut self) {
        INSTANCES.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone)]
struct Backend(Arc<EndpointId>);

impl Service<Request<()>> for Backend {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<()>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        let endpoint_id = Arc::clone(&self.0);
        Box::pin(async move {
            sleep(SERVICE_TIME).await;
            let mut response = Response::new(());
            if endpoint_id.is_down() {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok(response)
        })
    }
}

/// Reports a load with each response.
#[derive(Clone)]
struct Reporting;

impl Track<Response<()>> for Reporting {
    type Response = Response<()>;

    fn response(&self, response: Response<()>, attempt: Attempt) -> Response<()> {
        let report = LoadReport::new().with_requests_in_flight(1.0).with_latency(SERVICE_TIME);
        attempt.report(&report);
        OnResponse::new(HttpStatus).response(response, attempt)
    }

    fn error(&self, error: &(dyn std::error::Error + 'static), attempt: Attempt) {
        Track::<Response<()>>::error(&OnResponse::new(HttpStatus), error, attempt);
    }
}

impl<Req> Follow<Req> for Reporting {
    fn attempts<'r>(&self, _request: &'r Req) -> Option<&'r Attempts> {
        None
    }
}

fn heading(changed: &str, sent: &str) {
    REQUESTS.store(0, Relaxed);
    println!(
        "| s | {changed} | {sent} | endpoints alive | live KiB | live allocations | RSS KiB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    row("0", 0, 0);
}

fn row(time: &str, changed: u64, sent: u64) {
    let instances = INSTANCES.load(Relaxed);
    let kib = (ALLOCATED.load(Relaxed) - FREED.load(Relaxed)) / 1024;
    let allocations = ALLOCATIONS.load(Relaxed) - FREES.load(Relaxed);
    let rss = resident_kib();
    println!("| {time} | {changed} | {sent} | {instances} | {kib} | {allocations} | {rss} |");
}

/// The resident memory of this process in KiB; 0 where there is no `/proc`.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Has the system's allocator return what it keeps for later: what is resident then is in use.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: glibc's own, which may be called at any time.
        unsafe { malloc_trim(0) };
    }
}

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn took(size: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    ALLOCATED.fetch_add(size as u64, Relaxed);
}

fn gave(size: usize) {
    FREES.fetch_add(1, Relaxed);
    FREED.fetch_add(size as u64, Relaxed);
}

// SAFETY: all is passed on to `System`, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }
}
