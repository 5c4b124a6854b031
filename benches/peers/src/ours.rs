use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::runtime;
use tower_lb::{
    Balancer,
    balance::Driver,
    discover::{self, Channel, Discover, Handle},
    endpoint::{Endpoint, Health, Locality},
    strategy::Strategy,
};

use crate::{
    addresses::{address, addresses},
    noop::Noop,
};

/// A balancer over endpoints that don't change.
pub fn fixed<St: Strategy, S: Clone>(strategy: St, service: S, n: usize) -> Balancer<S, St> {
    let endpoints = addresses(n).map(|address| (address, service.clone().into()));
    let (balancer, mut driver) = build(strategy, discover::list(endpoints));
    assert!(poll(&mut driver).is_ready(), "all is published in one poll");
    balancer
}

/// A balancer over endpoints in two tiers, of which the first spills a little, and in three zones.
pub fn spread<St: Strategy>(strategy: St, n: usize) -> Balancer<Noop, St> {
    let endpoint = |index: usize| {
        let endpoint = Endpoint::new(Noop)
            .with_tier((index % 2) as u32)
            .with_locality(Locality::new("region", ZONES[index % ZONES.len()]))
            .with_metadata("version", (index % 2).to_string());
        match index % 10 {
            0 | 2 => endpoint.with_health(Health::unhealthy("down")),
            _ => endpoint,
        }
    };
    let endpoints = (0..n).map(|index| (address(index), endpoint(index)));
    let (balancer, mut driver) = build(strategy, discover::list(endpoints));
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let _ = poll(&mut driver);
    balancer
}

/// The zones of [`spread`].
pub const ZONES: [&str; 3] = ["a", "b", "c"];

pub type ChannelDriver<St, S = Noop> = Driver<Channel<SocketAddr, S>, St>;

/// A balancer whose endpoints can be changed.
pub struct Changing<St: Strategy, S: Clone> {
    pub handle: Handle<SocketAddr, S>,
    pub driver: ChannelDriver<St, S>,
    pub balancer: Balancer<S, St>,
}

pub fn changing<St: Strategy, S: Clone>(
    strategy: St,
    service: S,
    n: usize,
    weights: Weights,
) -> Changing<St, S> {
    let (handle, stream) = discover::channel();
    let (balancer, mut driver) = build(strategy, stream);
    let endpoint = |index| {
        let endpoint = Endpoint::new(service.clone()).with_weight(weights.of(index));
        (address(index), endpoint)
    };
    handle.reset((0..n).map(endpoint)).expect("the driver has the stream");
    assert!(poll(&mut driver).is_pending(), "more may come");
    assert_eq!(balancer.status().version, 1);
    Changing { handle, driver, balancer }
}

/// The builder takes services of any kind of request.
fn build<D, St>(strategy: St, discover: D) -> (Balancer<D::Target, St>, Driver<D, St>)
where
    D: Discover<Key = SocketAddr, Target: Clone, Error: Into<tower_lb::BoxError>>,
    St: Strategy,
{
    Balancer::builder().build(strategy, discover).expect("no settings")
}

/// Applies what the stream has, and publishes it.
pub fn poll<D, St>(driver: &mut Driver<D, St>) -> Poll<()>
where
    D: Discover + Unpin,
    St: Strategy,
    Driver<D, St>: Future<Output = ()>,
{
    Pin::new(driver).poll(&mut Context::from_waker(Waker::noop()))
}

/// Equal weights have a shorter way through all strategies.
#[derive(Clone, Copy, Debug)]
pub enum Weights {
    Equal,
    OneToTen,
}

impl Weights {
    pub const ALL: [Self; 2] = [Self::Equal, Self::OneToTen];

    pub fn of(self, index: usize) -> u32 {
        match self {
            Self::Equal => 1,
            Self::OneToTen => 1 + index as u32 % 10,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal weights",
            Self::OneToTen => "weights 1-10",
        }
    }
}
