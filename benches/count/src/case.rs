//! A case, and how its requests are sent.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower::Service;
use tower_lb::{
    Balancer,
    balance::{Builder, Driver},
    discover::{Discover, list},
    endpoint::{Endpoint, Locality},
    strategy::Strategy,
};

/// What is counted.
pub struct Case {
    pub name: &'static str,
    /// Sends this number of requests.
    pub run: fn(u64),
}

impl Case {
    pub const fn new(name: &'static str, run: fn(u64)) -> Self {
        Self { name, run }
    }
}

/// Sends requests one after the other, without a runtime: no endpoint ever waits. Calls `end` with
/// each response.
#[inline(never)]
pub fn send<S, Req>(
    mut service: S,
    requests: u64,
    request: impl Fn(u64) -> Req,
    end: impl Fn(S::Response),
) where
    S: Service<Req>,
{
    let service = black_box(&mut service);
    let mut context = Context::from_waker(Waker::noop());
    for number in 0..requests {
        assert!(service.poll_ready(&mut context).is_ready());
        let response = service.call(request(number));
        match pin!(response).poll(&mut context) {
            Poll::Ready(Ok(response)) => end(black_box(response)),
            Poll::Ready(Err(_)) => panic!("no request fails"),
            Poll::Pending => panic!("no request waits"),
        }
    }
}

/// Sends requests that are nothing and whose responses are nothing.
pub fn send_unit<S: Service<(), Response = ()>>(service: S, requests: u64) {
    send(service, requests, |_| (), |()| ());
}

/// Builds a balancer over `n` endpoints in three zones, all in the first tier.
pub fn balancer<S, St, T>(
    builder: Builder<T>,
    strategy: St,
    service: S,
    n: usize,
) -> Balancer<S, St, T>
where
    S: Clone,
    St: Strategy,
{
    let endpoint = |index: usize| {
        let zone = ["a", "b", "c"][index % 3];
        let endpoint = Endpoint::new(service.clone());
        (index, endpoint.with_locality(Locality::new("region", zone)))
    };
    let endpoints = list((0..n).map(endpoint));
    let (balancer, driver) = builder.seed(1).build(strategy, endpoints).expect("valid settings");
    publish(driver);
    balancer
}

/// Publishes the endpoints. Dropping the driver logs that no more changes come, which is so.
fn publish<D, St>(driver: Driver<D, St>)
where
    D: Discover,
    St: Strategy,
    Driver<D, St>: Future<Output = ()>,
{
    let _ = pin!(driver).poll(&mut Context::from_waker(Waker::noop()));
}
