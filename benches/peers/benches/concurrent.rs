//! What one request costs when many tasks send them on two threads, each through its own clone.

use std::{
    convert::Infallible,
    fmt::Debug,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use tokio::{
    runtime::{self, Runtime},
    task::{JoinSet, yield_now},
};
use tower::{Service, ServiceExt, service_fn};
use tower_lb::{
    load::{FailureAware, Outstanding, PeakEwma},
    strategy::P2c,
};
use tower_lb_benches::{
    noop::Noop,
    ours,
    tower_balance::{self, peak_ewma, pending_requests},
    tower_buffer::buffer,
};

const THREADS: usize = 2;
const TASKS: [u64; 2] = [1, 64];
const ENDPOINTS: usize = 10;

fn concurrent(c: &mut Criterion) {
    // A request is over before another task gets to run.
    compare(c, "concurrent by tasks, immediate responses", || Noop);
    // As many requests are in flight as there are tasks. A turn of the scheduler is measured along,
    // see the direct call.
    compare(c, "concurrent by tasks, responses after a yield", || {
        service_fn(|()| async {
            yield_now().await;
            Ok::<_, Infallible>(())
        })
    });
}

fn compare<S>(c: &mut Criterion, name: &str, service: fn() -> S)
where
    S: Service<(), Response = (), Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(THREADS).build().expect("a runtime");
    let _entered = runtime.enter();
    let group = &mut c.benchmark_group(name);

    bench(group, &runtime, "direct call", service);
    bench(group, &runtime, "tower-lb P2c Outstanding", || {
        ours::fixed(P2c::new(Outstanding), service(), ENDPOINTS)
    });
    bench(group, &runtime, "tower-lb P2c FailureAware PeakEwma", || {
        let load = FailureAware::new(PeakEwma::new());
        ours::fixed(P2c::new(load), service(), ENDPOINTS)
    });
    bench(group, &runtime, "tower Buffer Balance PendingRequests", || {
        let measured = move || pending_requests(service());
        buffer(tower_balance::fixed(measured, ENDPOINTS))
    });
    bench(group, &runtime, "tower Buffer Balance PeakEwma", || {
        let measured = move || peak_ewma(service());
        buffer(tower_balance::fixed(measured, ENDPOINTS))
    });
}

fn bench<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    name: &str,
    balancer: impl Fn() -> S,
) where
    S: Service<(), Error: Debug, Response: Send, Future: Send> + Clone + Send + 'static,
{
    for tasks in TASKS {
        let mut shared = None;
        group.bench_function(BenchmarkId::new(name, tasks), |bencher| {
            let shared = shared.get_or_insert_with(&balancer);
            bencher.iter_custom(|requests| runtime.block_on(split(shared, tasks, requests)));
        });
    }
}

/// Returns the time for `requests` requests, divided among the tasks.
async fn split<S>(service: &S, tasks: u64, requests: u64) -> Duration
where
    S: Service<(), Error: Debug, Response: Send, Future: Send> + Clone + Send + 'static,
{
    let each = requests.div_ceil(tasks);
    let start = Instant::now();
    let running: JoinSet<()> = (0..tasks).map(|_| send(service.clone(), each)).collect();
    running.join_all().await;
    // The tasks send a few more than they are asked for, where the number can't be split.
    start.elapsed().mul_f64(requests as f64 / (each * tasks) as f64)
}

async fn send<S>(mut service: S, requests: u64)
where
    S: Service<(), Error: Debug>,
{
    for _ in 0..requests {
        let ready = service.ready().await.expect("ready");
        black_box(ready.call(()).await.expect("a response"));
    }
}

criterion_group!(benches, concurrent);
criterion_main!(benches);
