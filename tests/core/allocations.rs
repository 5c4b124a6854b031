//! What a request allocates (nothing), and what an endpoint takes in memory.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use allocation_counter::measure;
use tower::Service;
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    health::{CircuitBreaker, HealthExt, OutlierDetection, OverloadBackoff, SlowStart},
    load::{FailureAware, Outstanding, PeakEwma},
    strategy::{
        BoundedLoad, Candidate, LeastLoaded, Maglev, P2c, Pick, Random, Rendezvous, Ring,
        RoundRobin, Split, Strategy, Subset, SubsetBy, TopK, stable_hash,
    },
};
use tower_lb_test_support::drive;

/// Answers at once and has no size of its own.
#[derive(Clone)]
struct Noop;

impl Service<u64> for Noop {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

fn endpoints(count: u32, weight: impl Fn(u32) -> u32) -> discover::List<SocketAddr, Noop> {
    discover::list((0..count).map(|n| {
        let address = SocketAddr::from((n.to_be_bytes(), 80));
        (address, Endpoint::new(Noop).with_weight(weight(n)))
    }))
}

/// Of different weights, and with a label.
fn labelled() -> discover::List<u32, Noop> {
    discover::list((0..20).map(|n| {
        let parity = if n % 2 == 0 { "even" } else { "odd" };
        (n, Endpoint::new(Noop).with_weight(n % 3 + 1).with_metadata("parity", parity))
    }))
}

fn request<St: Strategy<Picker: Pick<u64>>>(balancer: &mut Balancer<Noop, St>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(balancer.poll_ready(&mut cx).is_ready());
    let response = pin!(balancer.call(1));
    assert!(response.poll(&mut cx).is_ready());
}

#[test]
fn a_request_allocates_nothing() {
    fn check<St: Strategy<Picker: Pick<u64>>>(name: &str, strategy: St, limit: Option<u32>) {
        let builder = Balancer::builder();
        let builder = match limit {
            Some(limit) => builder.max_outstanding(limit),
            None => builder,
        };
        let (mut balancer, driver) = builder.build(strategy, labelled()).unwrap();
        drive(&mut Box::pin(driver));
        (0..100).for_each(|_| request(&mut balancer));
        let cost = measure(|| (0..1000).for_each(|_| request(&mut balancer)));
        assert_eq!(cost.count_total, 0, "{name}");
        let cost = measure(|| (0..1000).for_each(|_| request(&mut balancer.clone())));
        assert_eq!(cost.count_total, 0, "{name}, a clone for each request");
    }
    for limit in [None, Some(10)] {
        check("round robin", RoundRobin::new(), limit);
        check("random", Random, limit);
        check("p2c", P2c::default(), limit);
        check("p2c, peak EWMA", P2c::new(FailureAware::new(PeakEwma::new())), limit);
        check("least", LeastLoaded::default(), limit);
        check("least of five", LeastLoaded::default().scan_up_to(5).unwrap(), limit);
        let labels = [("parity", "odd")];
        check("subset", Subset::new(P2c::default(), labels).or_any(), limit);
        fn wanted<'a>(&request: &'a u64, _label: &str) -> Option<&'a str> {
            Some(if request % 2 == 0 { "even" } else { "odd" })
        }
        check("subset by", SubsetBy::new(P2c::default(), ["parity"], wanted).or_any(), limit);
        let even = |candidate: &Candidate| candidate.metadata().get("parity") == Some("even");
        let odd = move |candidate: &Candidate| !even(candidate);
        let split = || {
            let split = Split::builder().group("even", 95, even, P2c::default());
            split.group("odd", 5, odd, P2c::default())
        };
        check("split", split().build().unwrap().0, limit);
        let keyed = split().sticky_by(|&request: &u64| Some(request));
        check("split by key", keyed.build().unwrap().0, limit);
        let key = || |request: &u64| Some(stable_hash(request.to_le_bytes()));
        check("rendezvous", Rendezvous::new(key()), limit);
        check("maglev", Maglev::new(key()), limit);
        check("ring", Ring::new(key()), limit);
        check("bounded", BoundedLoad::new(Ring::new(key()), 1.25).unwrap(), limit);
        check("top k", TopK::new(Maglev::new(key()), 3, Outstanding).unwrap(), limit);
    }
}

/// Every meter that health adapters hang on an endpoint, and a count of starts and latencies.
#[test]
fn nor_does_one_that_is_watched_over() {
    let stages = endpoints(20, |_| 1)
        .outlier_detected(OutlierDetection::new())
        .and_then(|stages| stages.circuit_broken(CircuitBreaker::new()))
        .and_then(|stages| stages.overload_backoff(OverloadBackoff::new()))
        .and_then(|stages| stages.slow_start(SlowStart::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let (mut balancer, driver) = Balancer::new(P2c::default(), stages.unwrap());
    let mut driver = Box::pin(driver);
    drive(&mut driver);
    (0..100).for_each(|_| request(&mut balancer));
    let cost = measure(|| (0..1000).for_each(|_| request(&mut balancer)));
    assert_eq!(cost.count_total, 0);
}

/// Heap bytes for each of 10 000 endpoints, with socket addresses as keys, beside the service itself
/// (which has no size here): 384 at the most.
#[test]
fn an_endpoint_takes_little_memory() {
    const COUNT: u32 = 10_000;
    let mut kept = None;
    let cost = measure(|| {
        let (balancer, driver) = Balancer::new(P2c::default(), endpoints(COUNT, |_| 1));
        let mut driver = Box::pin(driver);
        drive(&mut driver);
        kept = Some((balancer, driver));
    });
    let each = cost.bytes_current / i64::from(COUNT);
    println!("{each} bytes for each endpoint");
    assert!(each <= 384, "{each} bytes");
    drop(kept);
}

/// Publishing one change copies a chunk or two, not ten thousand endpoints.
#[test]
fn one_change_of_ten_thousand_allocates_little() {
    let (handle, stream) = discover::channel();
    let (balancer, driver) = Balancer::new(P2c::default(), stream);
    let mut driver = Box::pin(driver);
    for n in 0..10_000_u32 {
        handle.insert(n, Noop).unwrap();
    }
    drive(&mut driver);
    let cost = measure(|| {
        handle.insert(10_000, Noop).unwrap();
        drive(&mut driver);
    });
    println!("{} bytes for one change", cost.bytes_total);
    assert!(cost.bytes_total < 40_000, "{} bytes", cost.bytes_total);
    drop(balancer);
}
