//! Balancers over 100 endpoints that do nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
};

use tower::{Layer, Service};
use tower_lb::{
    Balancer,
    endpoint::Locality,
    limit::{AdaptiveThrottleLayer, Concurrency, ConcurrencyLimitLayer, RateLimitLayer},
    load::Outstanding,
    observe::Registry,
    outcome::ResultOnly,
    strategy::{
        BoundedLoad, Dynamic, HashKey, LeastLoaded, Maglev, P2c, Panic, Pick, Random, Rendezvous,
        Ring, RoundRobin, Strategy, Tiers, ZoneAware, stable_hash,
    },
};

use crate::case::{balancer, send, send_unit};

/// The endpoints of all cases but those whose cost grows with their number.
pub const ENDPOINTS: usize = 100;

/// An endpoint that does nothing.
#[derive(Clone, Copy)]
pub struct Noop;

impl<Req> Service<Req> for Noop {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, _: Req) -> Self::Future {
        ready(Ok(()))
    }
}

fn over_noop<St: Strategy>(strategy: St) -> Balancer<Noop, St> {
    balancer(Balancer::builder(), strategy, Noop, ENDPOINTS)
}

fn plain<St: Strategy<Picker: Pick<()>>>(strategy: St, requests: u64) {
    send_unit(over_noop(strategy), requests);
}

/// Sends requests whose keys are 16 bytes, each another one.
fn hashed<St: Strategy<Picker: Pick<u64>>>(strategy: St, requests: u64) {
    send(over_noop(strategy), requests, |number| number, |()| ());
}

fn key() -> impl HashKey<u64> + Clone {
    |number: &u64| Some(stable_hash(u128::from(*number).to_le_bytes()))
}

pub fn direct(requests: u64) {
    send_unit(Noop, requests);
}

pub fn random(requests: u64) {
    plain(Random, requests);
}

pub fn round_robin(requests: u64) {
    plain(RoundRobin::starting_at(0), requests);
}

pub fn p2c_outstanding(requests: u64) {
    plain(P2c::new(Outstanding), requests);
}

pub fn p2c_default(requests: u64) {
    plain(P2c::default(), requests);
}

/// Sends each request with a clone of its own, as servers do.
struct PerRequest<S>(S);

impl<S: Service<()> + Clone> Service<()> for PerRequest<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, (): ()) -> S::Future {
        let mut clone = self.0.clone();
        assert!(clone.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        clone.call(())
    }
}

pub fn clone_per_request(requests: u64) {
    send_unit(PerRequest(over_noop(P2c::default())), requests);
}

pub fn p2c_peak_ewma(requests: u64) {
    plain(P2c::peak_ewma(), requests);
}

pub fn least_loaded_of_five(requests: u64) {
    plain(LeastLoaded::default().scan_up_to(5).expect("at least 1"), requests);
}

pub fn maglev(requests: u64) {
    hashed(Maglev::new(key()), requests);
}

pub fn ring(requests: u64) {
    hashed(Ring::new(key()), requests);
}

pub fn rendezvous(requests: u64) {
    hashed(Rendezvous::new(key()), requests);
}

pub fn bounded_maglev(requests: u64) {
    hashed(BoundedLoad::new(Maglev::new(key()), 1.25).expect("above 1"), requests);
}

pub fn zones(requests: u64) {
    plain(ZoneAware::new(Locality::new("region", "a"), Random), requests);
}

pub fn tiers(requests: u64) {
    plain(Tiers::new(Random), requests);
}

pub fn panic(requests: u64) {
    plain(Panic::new(Random), requests);
}

pub fn dynamic(requests: u64) {
    plain(Dynamic::<()>::new(Random), requests);
}

pub fn named(requests: u64) {
    let balancer = balancer(Balancer::builder().name("orders"), Random, Noop, ENDPOINTS);
    Registry::new().add(&balancer);
    send_unit(balancer, requests);
}

pub fn durations(requests: u64) {
    let builder = Balancer::builder().measure_durations(true);
    send_unit(balancer(builder, Random, Noop, ENDPOINTS), requests);
}

pub fn max_outstanding(requests: u64) {
    let builder = Balancer::builder().max_outstanding(10);
    send_unit(balancer(builder, P2c::default(), Noop, ENDPOINTS), requests);
}

pub fn concurrency_limit(requests: u64) {
    let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(100)).build().expect("valid");
    send_unit(limit.layer(over_noop(P2c::default())), requests);
}

pub fn adaptive_throttle(requests: u64) {
    let throttle = AdaptiveThrottleLayer::new(ResultOnly, 2.0).expect("valid");
    send_unit(throttle.layer(over_noop(P2c::default())), requests);
}

pub fn rate_limit(requests: u64) {
    let limit = RateLimitLayer::new(1e9, 1_000_000).expect("valid");
    send_unit(limit.layer(over_noop(P2c::default())), requests);
}
