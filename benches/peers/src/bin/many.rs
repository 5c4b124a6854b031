//! Prints what many balancers over the same endpoints cost, as a Markdown table: memory, and the
//! time until a change has reached all of them.
//!
//! Usage: `many ENDPOINTS BALANCERS [CASE]`. Without a case, all cases run one after the other.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Runtime},
    sync::Notify,
    time::timeout,
};
use tower_lb::{
    Balancer, BoxError,
    discover::{self, Broadcast, Channel, Discover, DiscoverExt, Handle},
    endpoint::Endpoint,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, P2c, Strategy},
};
use tower_lb_benches::{addresses::address, noop::Noop};

/// The largest live heap that a case may take.
const MAX_BYTES: u64 = 8 << 30;
const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);
/// The number of single changes, of which the median is printed.
const CHANGES: usize = 5;

/// The system's allocator, counting.
struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is passed on to `System`, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let allocated = ALLOCATED.fetch_add(layout.size() as u64, Relaxed) + layout.size() as u64;
        PEAK.fetch_max(allocated.saturating_sub(FREED.load(Relaxed)), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn live() -> u64 {
    ALLOCATED.load(Relaxed) - FREED.load(Relaxed)
}

struct Case {
    name: &'static str,
    /// The most bytes that an endpoint in a balancer takes, while all endpoints are replaced.
    max_bytes: u64,
    make: fn(usize, &Shared) -> Source,
}

const CASES: [Case; 5] = [
    Case {
        name: "a stream each, not connected",
        max_bytes: 700,
        make: |balancers, shared| {
            let services = |stream: Addresses| stream.map_endpoints(|_, one| one.map(|_| Noop));
            separate(balancers, shared, services)
        },
    },
    Case {
        name: "a stream each, connected",
        max_bytes: 900,
        make: |balancers, shared| separate(balancers, shared, |stream| stream.connect(|_| Noop)),
    },
    Case {
        name: "broadcast, then connected",
        max_bytes: 600,
        make: |balancers, shared| {
            broadcast(balancers, shared, |stream| stream, |one| one.connect(|_| Noop))
        },
    },
    Case {
        name: "connected, then broadcast, own stats",
        max_bytes: 500,
        make: |balancers, shared| {
            let connect = |stream: Addresses| stream.connect(|_| Noop);
            broadcast(balancers, shared, connect, |one| one.with_own_stats())
        },
    },
    Case {
        name: "connected, then broadcast",
        max_bytes: 400,
        make: |balancers, shared| {
            broadcast(balancers, shared, |stream| stream.connect(|_| Noop), |one| one)
        },
    },
];

type Addresses = Channel<SocketAddr, SocketAddr>;
type Balancers = Vec<Balancer<Noop, Watched>>;

/// What the endpoints of all balancers come from.
struct Source {
    handles: Vec<Handle<SocketAddr, SocketAddr>>,
    balancers: Balancers,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index)?.parse().ok();
    let (Some(endpoints), Some(balancers)) = (number(0), number(1)) else {
        let names = CASES.map(|case| format!("{:?}", case.name)).join(", ");
        eprintln!("usage: many ENDPOINTS BALANCERS [CASE]; the cases are {names}");
        return ExitCode::FAILURE;
    };
    println!(
        "| {endpoints} endpoints, {balancers} balancers | bytes per endpoint and balancer | \
         live heap, MiB | one change, ms | all replaced, ms | peak of the heap, MiB |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for case in CASES {
        if arguments.get(2).is_none_or(|wanted| wanted == case.name) {
            run(&case, endpoints, balancers);
        }
    }
    ExitCode::SUCCESS
}

fn run(case: &Case, endpoints: usize, balancers: usize) {
    let Case { name, max_bytes, make } = case;
    let pairs = (endpoints * balancers) as u64;
    if pairs * max_bytes > MAX_BYTES {
        println!("| {name} | not measured: more than {} GiB | | | | |", MAX_BYTES >> 30);
        return;
    }
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("a runtime");
    let before = live();
    PEAK.store(before, Relaxed);
    let shared = Shared::default();
    let source = {
        let _inside = runtime.enter();
        make(balancers, &shared)
    };
    shared.change(&runtime, &source, Expected { endpoints, tier: 0 }, |handle| {
        handle.reset((0..endpoints).map(|index| endpoint(index, 0)))
    });
    let bytes = live() - before;
    let mut single = Vec::new();
    for change in 0..CHANGES {
        let (key, one) = endpoint(endpoints + change, 0);
        let more = Expected { endpoints: endpoints + 1, tier: 0 };
        single
            .push(shared.change(&runtime, &source, more, |handle| handle.insert(key, one.clone())));
        let fewer = Expected { endpoints, tier: 0 };
        single.push(shared.change(&runtime, &source, fewer, |handle| handle.remove(key)));
    }
    single.sort();
    let one = single[single.len() / 2];
    let all = shared.change(&runtime, &source, Expected { endpoints, tier: 1 }, |handle| {
        handle.reset((0..endpoints).map(|index| endpoint(2 * endpoints + index, 1)))
    });
    println!(
        "| {name} | {:.1} | {} | {:.1} | {:.0} | {} |",
        bytes as f64 / pairs as f64,
        bytes >> 20,
        one.as_secs_f64() * 1e3,
        all.as_secs_f64() * 1e3,
        (PEAK.load(Relaxed) - before) >> 20,
    );
    drop(source);
}

fn endpoint(index: usize, tier: u32) -> (SocketAddr, Endpoint<SocketAddr>) {
    let address = address(index);
    (address, Endpoint::new(address).with_tier(tier))
}

/// Each balancer has a stream of its own, as if each had a source.
fn separate<D>(balancers: usize, shared: &Shared, stages: impl Fn(Addresses) -> D) -> Source
where
    D: Discover<Key = SocketAddr, Target = Noop, Error: Into<BoxError>> + Send + 'static,
{
    let each = (0..balancers).map(|_| {
        let (handle, stream) = discover::channel();
        (handle, Balancer::spawn::<_, ()>(shared.watched(), stages(stream)))
    });
    let (handles, balancers) = each.unzip();
    Source { handles, balancers }
}

/// All balancers have one source.
fn broadcast<D, E>(
    balancers: usize,
    shared: &Shared,
    before: impl Fn(Addresses) -> D,
    after: impl Fn(discover::Subscription<SocketAddr, D::Target>) -> E,
) -> Source
where
    D: Discover<Key = SocketAddr, Target: Clone + Send + Sync, Error: Into<BoxError>>
        + Send
        + 'static,
    D::Target: 'static,
    E: Discover<Key = SocketAddr, Target = Noop, Error: Into<BoxError>> + Send + 'static,
{
    let (handle, stream) = discover::channel();
    let broadcast = Broadcast::spawn(before(stream));
    let balancers = (0..balancers)
        .map(|_| Balancer::spawn::<_, ()>(shared.watched(), after(broadcast.subscribe())))
        .collect();
    Source { handles: vec![handle], balancers }
}

/// What balancers are expected to have after a change.
#[derive(Clone, Copy)]
struct Expected {
    endpoints: usize,
    tier: u32,
}

/// Counts the balancers that a change has reached.
#[derive(Clone, Default)]
struct Shared {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    endpoints: AtomicUsize,
    tier: AtomicUsize,
    missing: AtomicUsize,
    all: Notify,
}

impl Shared {
    fn watched(&self) -> Watched {
        Watched { strategy: P2c::default(), shared: self.clone() }
    }

    /// Makes a change in each source, and returns the time until all balancers have it.
    fn change<E: std::fmt::Debug>(
        &self,
        runtime: &Runtime,
        source: &Source,
        expected: Expected,
        change: impl Fn(&Handle<SocketAddr, SocketAddr>) -> Result<(), E>,
    ) -> Duration {
        let Inner { endpoints, tier, missing, all } = &*self.inner;
        endpoints.store(expected.endpoints, Relaxed);
        tier.store(expected.tier as usize, Relaxed);
        missing.store(source.balancers.len(), Relaxed);
        let started = Instant::now();
        runtime.block_on(async {
            for handle in &source.handles {
                change(handle).expect("connected");
            }
            timeout(CHANGE_TIMEOUT, all.notified())
                .await
                .expect("the change reaches all balancers");
        });
        started.elapsed()
    }

    /// Counts a balancer that publishes what is expected. Each publishes it once.
    fn published(&self, candidates: &Candidates) {
        let Inner { endpoints, tier, missing, all } = &*self.inner;
        let is_expected = candidates.len() == endpoints.load(Relaxed)
            && candidates.get(0).is_some_and(|one| one.tier() as usize == tier.load(Relaxed));
        if is_expected && missing.fetch_sub(1, Relaxed) == 1 {
            all.notify_one();
        }
    }
}

/// A strategy that reports the endpoints that it is built from.
struct Watched {
    strategy: P2c,
    shared: Shared,
}

impl Strategy for Watched {
    type Picker = <P2c as Strategy>::Picker;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        self.shared.published(candidates);
        self.strategy.build(candidates, context)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.strategy.meter()
    }
}
