//! Prints what the balancers allocate: per request, and per endpoint.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Waker},
};

use pingora_load_balancing::selection;
use tower::Service;
use tower_lb::{
    load::{FailureAware, Outstanding, PeakEwma},
    strategy::{LeastLoaded, P2c, Random, RoundRobin, Strategy},
};
use tower_lb_benches::{
    contender::Contender,
    noop::Noop,
    ours::{self, Weights},
    pingora, poise,
    tower_balance::{self, peak_ewma, pending_requests},
};

const REQUESTS: u64 = 100_000;
const FEW: usize = 10;
const MANY: usize = 10_000;

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is passed on to `System`, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        ALLOCATED.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn main() {
    per_request();
    println!();
    per_endpoint();
}

fn per_request() {
    println!("| {FEW} endpoints | allocations per request | bytes per request |");
    println!("|---|---:|---:|");
    for contender in Contender::ALL {
        let mut run = (contender.over)(FEW);
        run(REQUESTS);
        let (allocations, bytes) = (ALLOCATIONS.load(Relaxed), ALLOCATED.load(Relaxed));
        run(REQUESTS);
        let each = |count: u64| count as f64 / REQUESTS as f64;
        let allocations = each(ALLOCATIONS.load(Relaxed) - allocations);
        let bytes = each(ALLOCATED.load(Relaxed) - bytes);
        println!("| {} | {allocations:.2} | {bytes:.1} |", contender.name);
    }
}

fn per_endpoint() {
    println!("| {MANY} endpoints | heap bytes per endpoint |");
    println!("|---|---:|");
    for weights in Weights::ALL {
        let name = |strategy| format!("tower-lb {strategy}, {}", weights.name());
        ours(&name("RoundRobin"), RoundRobin::new(), weights);
        ours(&name("Random"), Random, weights);
        ours(&name("P2c Outstanding"), P2c::new(Outstanding), weights);
        ours(&name("P2c default"), P2c::default(), weights);
        let peak_ewma = FailureAware::new(PeakEwma::new());
        ours(&name("P2c FailureAware PeakEwma"), P2c::new(peak_ewma), weights);
        ours(&name("LeastLoaded"), LeastLoaded::default(), weights);
    }
    kept("tower Balance PendingRequests", || {
        ready(tower_balance::fixed(|| pending_requests(Noop), MANY))
    });
    kept("tower Balance PeakEwma", || ready(tower_balance::fixed(|| peak_ewma(Noop), MANY)));
    for weights in Weights::ALL {
        kept(&format!("pingora RoundRobin, {}", weights.name()), || {
            pingora::Changing::<selection::RoundRobin>::new(pingora::backends(MANY, weights))
        });
    }
    kept("poise P2C InFlight", || ready(poise::fixed(Noop, MANY)));
}

/// With its driver, which waits for changes.
fn ours<St: Strategy>(name: &str, strategy: St, weights: Weights) {
    kept(name, || ours::changing(strategy, Noop, MANY, weights));
}

/// tower's balancers take their services in when they are asked whether they are ready.
fn ready<S: Service<()>>(mut service: S) -> S {
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(service.poll_ready(cx).is_ready());
    service
}

/// What is still allocated when a balancer has been made.
fn kept<B>(name: &str, balancer: impl FnOnce() -> B) {
    let live = || ALLOCATED.load(Relaxed) - FREED.load(Relaxed);
    let before = live();
    let balancer = black_box(balancer());
    let bytes = (live() - before) as f64 / MANY as f64;
    println!("| {name} | {bytes:.1} |");
    drop(balancer);
}
