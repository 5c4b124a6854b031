use std::{
    fmt::Debug,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use pingora_load_balancing::selection::{self, BackendIter, BackendSelection};
use tokio::runtime;
use tower::{BoxError, Service};
use tower_lb::{
    endpoint::Locality,
    load::{FailureAware, HangAware, Outstanding, PeakEwma},
    strategy::{
        BoundedLoad, Classified, Dynamic, HashKey, LeastLoaded, LoadAwareZones, Maglev, P2c, Panic,
        Pick, PickFirst, Random, Rendezvous, Ring, RoundRobin, Strategy, Tiers, TopK,
        WeightedRoundRobin, ZonalShift, ZoneAware, stable_hash,
    },
};

use crate::{
    noop::Noop,
    ours::{self, Weights},
    pingora, poise, request,
    tower_balance::{self, peak_ewma, pending_requests},
    tower_buffer::buffer,
    volo,
};

/// One of the balancers compared, over endpoints that do nothing.
pub struct Contender {
    pub name: &'static str,
    /// Sets it up over this number of endpoints.
    pub over: fn(usize) -> Run,
}

/// Returns the time for this number of requests.
pub type Run = Box<dyn FnMut(u64) -> Duration>;

impl Contender {
    pub const ALL: &[Self] = &[
        Self::new("direct call", |_| by_hand(Noop)),
        Self::new("tower-lb RoundRobin", |n| ours(RoundRobin::new(), n)),
        Self::new("tower-lb Random", |n| ours(Random, n)),
        Self::new("tower-lb P2c Outstanding", |n| ours(P2c::new(Outstanding), n)),
        Self::new("tower-lb P2c default", |n| ours(P2c::default(), n)),
        Self::new("tower-lb P2c FailureAware PeakEwma", |n| {
            ours(P2c::new(FailureAware::new(PeakEwma::new())), n)
        }),
        Self::new("tower-lb LeastLoaded", |n| ours(LeastLoaded::default(), n)),
        Self::new("tower-lb Maglev", |n| ours(Maglev::new(another_key()), n)),
        Self::new("tower-lb Ring", |n| ours(Ring::new(another_key()), n)),
        Self::new("tower-lb Rendezvous", |n| ours(Rendezvous::new(another_key()), n)),
        Self::new("tower-lb BoundedLoad Maglev idle", |n| ours(bounded(), n)),
        Self::new("tower-lb BoundedLoad Maglev busy", |n| busy(bounded(), n)),
        Self::new("tower-lb TopK of 2 Maglev", |n| {
            ours(TopK::new(Maglev::new(another_key()), 2, Outstanding).expect("a k of 2"), n)
        }),
        Self::new("tower Balance PendingRequests", |n| {
            by_hand(tower_balance::fixed(|| pending_requests(Noop), n))
        }),
        Self::new("tower Balance PeakEwma", |n| {
            by_hand(tower_balance::fixed(|| peak_ewma(Noop), n))
        }),
        Self::new("tower Buffer Balance PendingRequests", |n| {
            buffered(tower_balance::fixed(|| pending_requests(Noop), n))
        }),
        Self::new("tower Buffer Balance PeakEwma", |n| {
            buffered(tower_balance::fixed(|| peak_ewma(Noop), n))
        }),
        Self::new("pingora RoundRobin select", |n| select::<selection::RoundRobin>(n)),
        Self::new("pingora Random select", |n| select::<selection::Random>(n)),
        Self::new("pingora Consistent select", |n| select::<selection::Consistent>(n)),
        Self::new("poise P2C InFlight", |n| by_hand(poise::fixed(Noop, n))),
        Self::new("volo WeightedRandom select", volo::random),
        Self::new("volo ConsistentHash select", volo::consistent_hash),
    ];

    /// The wrappers, around the cheapest strategy, and what else there is beside the everyday ones.
    pub const MORE: &[Self] = &[
        Self::new("Random", |n| spread(Random, n)),
        Self::new("Tiers of Random", |n| spread(Tiers::new(Random), n)),
        Self::new("Panic of Random", |n| spread(Panic::new(Random), n)),
        Self::new("ZoneAware of Random", |n| spread(ZoneAware::new(local(), Random), n)),
        Self::new("LoadAwareZones of Random", |n| spread(LoadAwareZones::new(local(), Random), n)),
        Self::new("ZonalShift of Random", |n| spread(ZonalShift::new(Random), n)),
        Self::new("Classified of Random", |n| spread(Classified::new(|()| 1, Random), n)),
        Self::new("Dynamic of Random", |n| spread(Dynamic::<()>::new(Random), n)),
        Self::new("Tiers of Panic of ZoneAware of Random", |n| {
            spread(Tiers::new(Panic::new(ZoneAware::new(local(), Random))), n)
        }),
        Self::new("WeightedRoundRobin", |n| spread(WeightedRoundRobin::new(), n)),
        Self::new("PickFirst", |n| spread(PickFirst::new(), n)),
        Self::new("P2c HangAware", |n| spread(P2c::new(HangAware::new(PeakEwma::new())), n)),
        Self::new("LeastLoaded of five", |n| {
            spread(LeastLoaded::default().scan_up_to(5).unwrap(), n)
        }),
    ];

    const fn new(name: &'static str, over: fn(usize) -> Run) -> Self {
        Self { name, over }
    }
}

fn by_hand<S>(mut service: S) -> Run
where
    S: Service<(), Error: Debug> + 'static,
{
    Box::new(move |requests| request::by_hand(black_box(&mut service), requests))
}

fn local() -> Locality {
    Locality::new("region", ours::ZONES[0])
}

fn spread<St>(strategy: St, n: usize) -> Run
where
    St: Strategy<Picker: Pick<()> + 'static> + 'static,
{
    by_hand(ours::spread(strategy, n))
}

fn ours<St>(strategy: St, n: usize) -> Run
where
    St: Strategy<Picker: Pick<()> + 'static> + 'static,
{
    by_hand(ours::fixed(strategy, Noop, n))
}

/// The same with four requests in flight for each endpoint.
fn busy<St>(strategy: St, n: usize) -> Run
where
    St: Strategy<Picker: Pick<()> + 'static> + 'static,
{
    let mut balancer = ours::fixed(strategy, Noop, n);
    let in_flight: Vec<_> = (0..4 * n).map(|_| balancer.call(())).collect();
    Box::new(move |requests| {
        black_box(&in_flight);
        request::by_hand(black_box(&mut balancer), requests)
    })
}

fn bounded() -> BoundedLoad<Maglev<impl HashKey<()>>> {
    BoundedLoad::new(Maglev::new(another_key()), 1.25).expect("a factor above 1")
}

/// Another key for each request.
fn another_key() -> impl HashKey<()> {
    let count = AtomicU64::new(0);
    move |_: &()| {
        let next = count.load(Ordering::Relaxed) + 1;
        count.store(next, Ordering::Relaxed);
        Some(stable_hash(key(next)))
    }
}

/// 16 bytes, as long as an id in text.
fn key(n: u64) -> [u8; 16] {
    u128::from(n).to_le_bytes()
}

/// The buffer's task runs on the same thread: waking another would cost far more.
fn buffered<S>(balance: S) -> Run
where
    S: Service<(), Error: Into<BoxError> + Send + Sync, Future: Send> + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut service = runtime.block_on(async { buffer(balance) });
    Box::new(move |requests| runtime.block_on(request::on_runtime(&mut service, requests)))
}

/// pingora's balancer only says which backend it is; there is nothing to call.
fn select<S>(n: usize) -> Run
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    let balancer = pingora::Changing::<S>::new(pingora::backends(n, Weights::Equal)).balancer;
    Box::new(move |requests| {
        let start = Instant::now();
        for n in 0..requests {
            black_box(balancer.select(&key(n), 256).expect("a backend"));
        }
        start.elapsed()
    })
}
