//! What a change of one endpoint in 10 000 costs until requests see it, and what a burst of changes
//! costs.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::mpsc,
    task::{Context, Poll, Waker},
};

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main,
    measurement::WallTime,
};
use futures_util::stream;
use pingora_load_balancing::{
    Backend,
    selection::{self, BackendIter, BackendSelection},
};
use tokio::runtime;
use tower::{BoxError, Service, balance::p2c::Balance, discover::Change};
use tower_lb::{
    endpoint::{Endpoint, Locality},
    strategy::{
        Maglev, P2c, Panic, PickFirst, Random, Rendezvous, Ring, RoundRobin, Strategy, Tiers,
        WeightedRoundRobin, ZoneAware,
    },
};
use tower_lb_benches::{
    addresses::{address, addresses},
    noop::Noop,
    ours::{self, Weights},
    pingora,
    tower_balance::pending_requests,
};

const ENDPOINTS: usize = 10_000;
const BURST: usize = 10_000;
/// The endpoint whose weight changes.
const KNOWN: usize = ENDPOINTS / 2;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn membership(c: &mut Criterion) {
    // Some strategies look at their endpoints each second.
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let group = &mut c.benchmark_group("membership");
    ours_changes(group, "tower-lb P2c", P2c::default);
    ours_changes(group, "tower-lb RoundRobin", RoundRobin::new);
    ours_changes(group, "tower-lb Random", || Random);
    // A change of the set is a new table; what the key is doesn't matter.
    ours_changes(group, "tower-lb Maglev", || Maglev::new(()));
    ours_changes(group, "tower-lb Ring", || Ring::new(()));
    ours_changes(group, "tower-lb Rendezvous", || Rendezvous::new(()));
    ours_changes(group, "tower-lb Tiers of Random", || Tiers::new(Random));
    ours_changes(group, "tower-lb Panic of Random", || Panic::new(Random));
    ours_changes(group, "tower-lb ZoneAware of Random", || ZoneAware::new(local(), Random));
    ours_changes(group, "tower-lb WeightedRoundRobin", WeightedRoundRobin::new);
    ours_changes(group, "tower-lb PickFirst", PickFirst::new);
    tower_changes(group);
    pingora_changes::<selection::RoundRobin>(group, "pingora RoundRobin");
    pingora_changes::<selection::Random>(group, "pingora Random");
    pingora_changes::<selection::Consistent>(group, "pingora Consistent");
}

fn local() -> Locality {
    Locality::new("region", "a")
}

fn in_and_out(name: &str, weights: Weights) -> BenchmarkId {
    BenchmarkId::new(name, format!("insert or remove, {}", weights.name()))
}

/// Only among unequal weights: among equal ones it would make them unequal every other time.
fn weight_change(name: &str) -> BenchmarkId {
    BenchmarkId::new(name, format!("weight change, {}", Weights::OneToTen.name()))
}

fn ours_changes<St: Strategy>(group: &mut Group<'_>, name: &str, strategy: fn() -> St) {
    for weights in Weights::ALL {
        group.bench_function(in_and_out(name, weights), |bencher| {
            let mut ours = ours::changing(strategy(), Noop, ENDPOINTS, weights);
            let key = address(ENDPOINTS);
            let mut is_in = false;
            bencher.iter(|| {
                is_in = !is_in;
                let sent =
                    if is_in { ours.handle.insert(key, Noop) } else { ours.handle.remove(key) };
                // The snapshot is published within the poll.
                sent.map(|()| ours::poll(&mut ours.driver))
            });
            assert!(ours.balancer.status().version > 1);
        });
    }
    group.bench_function(weight_change(name), |bencher| {
        let mut ours = ours::changing(strategy(), Noop, ENDPOINTS, Weights::OneToTen);
        let mut weight = 1;
        bencher.iter(|| {
            weight = weight % 10 + 1;
            let endpoint = Endpoint::new(Noop).with_weight(weight);
            let sent = ours.handle.insert(address(KNOWN), endpoint);
            sent.map(|()| ours::poll(&mut ours.driver))
        });
    });
}

/// tower's `Balance` learns of a change when the next request asks whether it is ready. It knows no
/// weights.
fn tower_changes(group: &mut Group<'_>) {
    let id = in_and_out("tower Balance PendingRequests", Weights::Equal);
    group.bench_function(id, |bencher| {
        let (sender, changes) = mpsc::channel();
        let mut balance = Balance::<_, ()>::new(stream::poll_fn(move |_| {
            let change = changes.try_recv();
            change.map_or(Poll::Pending, |change| Poll::Ready(Some(Ok::<_, BoxError>(change))))
        }));
        let insert = |key: SocketAddr| Change::Insert(key, pending_requests(Noop));
        for key in addresses(ENDPOINTS) {
            sender.send(insert(key)).expect("the balancer has the stream");
        }
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(balance.poll_ready(cx).is_ready());
        assert_eq!(balance.len(), ENDPOINTS);

        let key = address(ENDPOINTS);
        let mut is_in = false;
        bencher.iter(|| {
            is_in = !is_in;
            let sent = sender.send(if is_in { insert(key) } else { Change::Remove(key) });
            sent.map(|()| balance.poll_ready(cx).is_ready())
        });
    });
}

fn pingora_changes<S>(group: &mut Group<'_>, name: &str)
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    for weights in Weights::ALL {
        let without = || pingora::backends(ENDPOINTS, weights);
        group.bench_function(in_and_out(name, weights), |bencher| {
            let mut with = without();
            with.insert(pingora::backend(ENDPOINTS, 1));
            alternate::<S>(bencher, [without(), with]);
        });
    }
    group.bench_function(weight_change(name), |bencher| {
        let weights = Weights::OneToTen;
        let before = pingora::backends(ENDPOINTS, weights);
        let mut after = before.clone();
        let weight = weights.of(KNOWN);
        assert!(after.remove(&pingora::backend(KNOWN, weight)));
        after.insert(pingora::backend(KNOWN, weight + 1));
        alternate::<S>(bencher, [before, after]);
    });
}

fn alternate<S>(bencher: &mut criterion::Bencher<'_>, [now, then]: [BTreeSet<Backend>; 2])
where
    S: BackendSelection<Iter: BackendIter> + 'static,
{
    let changing = pingora::Changing::<S>::new(now.clone());
    let mut sets = [then, now].into_iter().cycle();
    bencher.iter_batched(
        || sets.next(),
        |set| set.map(|set| changing.update(set)),
        BatchSize::PerIteration,
    );
}

/// 10 000 changes that wait already: half of the endpoints are replaced by others.
fn burst(c: &mut Criterion) {
    let group = &mut c.benchmark_group("burst of 10 000 changes");
    group.sample_size(20);
    ours_burst(group, "tower-lb P2c", P2c::default);
    ours_burst(group, "tower-lb RoundRobin", RoundRobin::new);
    ours_burst(group, "tower-lb Random", || Random);
}

fn ours_burst<St: Strategy>(group: &mut Group<'_>, name: &str, strategy: fn() -> St) {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    for weights in Weights::ALL {
        let prepare = || {
            let ours::Changing { handle, driver, balancer } =
                ours::changing(strategy(), Noop, ENDPOINTS, weights);
            for index in 0..BURST / 2 {
                let weight = weights.of(index);
                let endpoint = Endpoint::new(Noop).with_weight(weight);
                let new = address(ENDPOINTS + index);
                let sent = handle.remove(address(index));
                sent.and(handle.insert(new, endpoint)).expect("the driver has the stream");
            }
            // Without a handle the stream ends after the burst, and the driver with it.
            (driver, balancer)
        };
        let mut bench = |how: &str, drive: &dyn Fn(&mut ours::ChannelDriver<St>)| {
            let column = format!("{how}, {}", weights.name());
            let mut snapshots = None;
            group.bench_function(BenchmarkId::new(name, &column), |bencher| {
                bencher.iter_batched(
                    prepare,
                    |(mut driver, balancer)| {
                        drive(&mut driver);
                        (driver, balancer)
                    },
                    BatchSize::PerIteration,
                );
                snapshots.get_or_insert_with(|| {
                    let (mut driver, balancer) = prepare();
                    let before = balancer.status().version;
                    drive(&mut driver);
                    balancer.status().version - before
                });
            });
            if let Some(snapshots) = snapshots {
                println!("{name}, {column}: {snapshots} snapshots\n");
            }
        };
        bench("polled by hand", &|driver| {
            while ours::poll(driver).is_pending() {}
        });
        // tokio lets a task take at most this many messages at a time.
        bench("in a tokio task", &|driver| runtime.block_on(driver));
    }
}

criterion_group!(benches, membership, burst);
criterion_main!(benches);
