//! One request over endpoints that do nothing, by this crate and by tower, in the same run.
//!
//! `cargo bench` runs it. Other peers, concurrency and changes of the endpoints are measured in
//! `benches/peers`.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use futures::stream;
use tower::{
    Service,
    balance::p2c::Balance,
    discover::Change,
    load::{CompleteOnResponse, PeakEwma, PendingRequests},
};
use tower_lb::{
    Balancer, discover,
    load::Outstanding,
    strategy::{P2c, Random, RoundRobin, Strategy},
};

/// An endpoint that responds at once, so that only the balancer is measured.
#[derive(Clone, Copy)]
struct Noop;

impl Service<()> for Noop {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// Sends one request to the end, without a runtime: nothing here ever waits.
fn send<S: Service<()>>(service: &mut S) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let ready = service.poll_ready(&mut context).is_ready();
    let response = pin!(service.call(())).poll(&mut context);
    ready && response.is_ready()
}

fn ours<St>(strategy: St, endpoints: usize) -> impl Service<()>
where
    St: Strategy<Picker: tower_lb::strategy::Pick<()>>,
{
    let endpoints = (0..endpoints).map(|key| (key, Noop.into()));
    let (balancer, driver) = Balancer::new(strategy, discover::list(endpoints));
    let published = pin!(driver).poll(&mut Context::from_waker(Waker::noop()));
    assert!(published.is_ready(), "a list is published by one poll");
    balancer
}

fn tower<S>(endpoints: usize, measured: impl Fn(Noop) -> S) -> impl Service<()>
where
    S: Service<(), Response = (), Error = Infallible> + tower::load::Load<Metric: std::fmt::Debug>,
{
    let endpoints: Vec<_> = (0..endpoints)
        .map(|key| Ok::<_, Infallible>(Change::Insert(key, measured(Noop))))
        .collect();
    Balance::new(stream::iter(endpoints))
}

fn per_request(criterion: &mut Criterion) {
    for endpoints in [10, 100, 1000] {
        let mut group = criterion.benchmark_group(format!("request, {endpoints} endpoints"));
        let mut measure = |name: &str, mut send: Box<dyn FnMut() -> bool>| {
            assert!(send(), "{name} responds at once");
            group.bench_function(name, |bencher| bencher.iter(&mut send));
        };
        macro_rules! row {
            ($name:literal, $service:expr) => {{
                let mut service = $service;
                measure($name, Box::new(move || send(&mut service)));
            }};
        }
        row!("tower-lb, random", ours(Random, endpoints));
        row!("tower-lb, round robin", ours(RoundRobin::new(), endpoints));
        row!("tower-lb, P2C by requests in flight", ours(P2c::new(Outstanding), endpoints));
        row!("tower-lb, P2C by peak EWMA", ours(P2c::peak_ewma(), endpoints));
        let pending = |noop| PendingRequests::new(noop, CompleteOnResponse::default());
        row!("tower, P2C by requests in flight", tower(endpoints, pending));
        let peak_ewma = |noop| {
            let decay_nanos = 1e10;
            let initial = Duration::from_millis(30);
            PeakEwma::new(noop, initial, decay_nanos, CompleteOnResponse::default())
        };
        row!("tower, P2C by peak EWMA", tower(endpoints, peak_ewma));
        group.finish();
    }
}

criterion_group!(benches, per_request);
criterion_main!(benches);
