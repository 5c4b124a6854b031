//! Every strategy inside every wrapper inside every wrapper: all of it composes, loses no request, and
//! allocates nothing for one.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures::FutureExt;
use tower::Service;
use tower_lb::{
    Balancer, discover,
    endpoint::{Endpoint, Health},
    load::{FailureAware, HangAware, Outstanding, PeakEwma, PerClass, PredictedLatency},
    outcome::LoadReport,
    strategy::{
        BoundedLoad, Candidate, Classified, Dynamic, Freshest, LeastLoaded, LoadAwareZones, Maglev,
        P2c, Panic, PanicMode, PickFirst, Prequal, Probed, Random, Rendezvous, Ring, RoundRobin,
        Split, Subset, SubsetBy, Tiers, TopK, WeightedRoundRobin, ZonalShift, ZoneAware,
    },
};
use tower_lb_test_support::picks::zone_named;

/// A user's number.
pub(crate) type Request = u64;
pub(crate) type Any = Dynamic<Request>;

fn key(user: &Request) -> Option<u64> {
    (user % 7 > 0).then_some(*user)
}

pub(crate) fn strategies() -> Vec<(&'static str, Any)> {
    let classes = PerClass::new(3, FailureAware::new(HangAware::new(PeakEwma::new()))).unwrap();
    let classify: fn(&Request) -> u32 = |user| (user % 3) as u32;
    vec![
        ("round robin", Any::new(RoundRobin::new())),
        ("random", Any::new(Random)),
        ("p2c", Any::new(P2c::default())),
        ("p2c, peak EWMA", Any::new(P2c::peak_ewma())),
        ("least loaded", Any::new(LeastLoaded::default())),
        ("least time by class", Any::new(Classified::new(classify, LeastLoaded::new(classes)))),
        ("weighted round robin", Any::new(WeightedRoundRobin::new())),
        ("rendezvous", Any::new(Rendezvous::new(key))),
        ("maglev", Any::new(Maglev::new(key).table_size(1009).unwrap())),
        ("ring", Any::new(Ring::new(key))),
        ("bounded load", Any::new(BoundedLoad::new(Ring::new(key), 1.25).unwrap())),
        ("top k", Any::new(TopK::new(Rendezvous::new(key), 3, Outstanding).unwrap())),
        ("pick first", Any::new(PickFirst::new())),
        ("least predicted", Any::new(LeastLoaded::new(PredictedLatency::new()))),
        ("freshest, probed", Any::new(Probed::new(ask, Freshest::default()))),
        ("prequal", Any::new(Prequal::new(ask))),
    ]
}

/// The version of a user; that of every third doesn't exist.
fn wanted<'a>(user: &'a Request, _label: &str) -> Option<&'a str> {
    Some(["0", "1", "2"][*user as usize % 3])
}

/// A probe.
fn ask(_endpoint: &Candidate) -> Ready<Result<LoadReport, Infallible>> {
    ready(Ok(LoadReport::new().with_requests_in_flight(1.0)))
}

pub(crate) type Wrap = fn(Any) -> Any;

pub(crate) fn wrappers() -> Vec<(&'static str, Wrap)> {
    vec![
        ("as it is", |inner| inner),
        ("tiers", |inner| Any::new(Tiers::new(inner))),
        ("backup tiers", |inner| Any::new(Tiers::new(inner).all_or_nothing().backup_from(1))),
        ("panic", |inner| Any::new(Panic::new(inner))),
        ("panic for the best", |inner| Any::new(Panic::new(inner).mode(PanicMode::OpenToBest))),
        ("zones", |inner| Any::new(ZoneAware::new(zone_named("a"), inner))),
        ("zones by load", |inner| Any::new(LoadAwareZones::new(zone_named("a"), inner))),
        ("zonal shift", |inner| {
            let shift = ZonalShift::new(inner);
            shift.handle().shift_away("c");
            Any::new(shift)
        }),
        ("subset", |inner| Any::new(Subset::new(inner, [("version", "1")]).or_any())),
        ("subset by request", |inner| Any::new(SubsetBy::new(inner, ["version"], wanted).or_any())),
        ("split", |inner| {
            let version =
                |wanted| move |one: &Candidate| one.metadata().get("version") == Some(wanted);
            let split = Split::builder().group("stable", 95, version("0"), inner.clone());
            Any::new(split.group("canary", 5, version("1"), inner).build().unwrap().0)
        }),
        ("split by key", |inner| {
            let split = Split::builder().group("all", 1, |_: &Candidate| true, inner);
            Any::new(split.sticky_by(|user: &Request| Some(*user)).build().unwrap().0)
        }),
        ("classes", |inner| Any::new(Classified::new(|user: &Request| *user as u32, inner))),
    ]
}

/// Answers at once with its number.
#[derive(Clone)]
pub(crate) struct Server(u32);

impl Server {
    pub(crate) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

impl Service<Request> for Server {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request) -> Self::Future {
        ready(Ok(self.0))
    }
}

pub(crate) fn endpoint(number: u32) -> Endpoint<Server> {
    let endpoint = Endpoint::new(Server(number))
        .with_weight(number % 4 + 1)
        .with_tier(number % 2)
        .with_locality(zone_named(["a", "b", "c"][number as usize % 3]))
        .with_metadata("version", (number % 2).to_string());
    match number {
        12 => endpoint.with_health(Health::unhealthy("down")),
        13 => endpoint.with_health(Health::degraded("slow")),
        14 => endpoint.with_health(Health::draining("deploy")),
        15 => endpoint.with_weight(0),
        _ => endpoint,
    }
}

#[test]
fn every_strategy_in_every_wrapper_in_every_wrapper() {
    for (name, strategy) in strategies() {
        for (inner, wrap) in wrappers() {
            for (outer, wrap_again) in wrappers() {
                let name = format!("{name} / {inner} / {outer}");
                run(&name, wrap_again(wrap(strategy.clone())));
            }
        }
    }
}

fn run(name: &str, strategy: Any) {
    let endpoints = discover::list((0..16).map(|number| (number, endpoint(number))));
    let (mut balancer, driver) = Balancer::builder().seed(1).build(strategy, endpoints).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut driver = Box::pin(driver);
    runtime.block_on(async { (&mut driver).now_or_never() });

    let mut cx = Context::from_waker(Waker::noop());
    let mut request = |user: Request| {
        assert!(Service::<Request>::poll_ready(&mut balancer, &mut cx).is_ready(), "{name}");
        let Poll::Ready(answer) = pin!(balancer.call(user)).poll(&mut cx) else {
            panic!("{name}: the request waits");
        };
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    (0..16).for_each(|user| _ = request(user));
    let mut served = [0_u32; 16];
    let cost = allocation_counter::measure(|| {
        (0..1000).for_each(|user| served[request(user) as usize] += 1);
    });
    assert_eq!(served.iter().sum::<u32>(), 1000, "{name}");
    assert_eq!(served[12..], [0, served[13], 0, 0], "{name}: sick or leaving");
    assert_eq!(cost.count_total, 0, "{name}: allocations");
}
