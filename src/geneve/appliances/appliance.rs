use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tower_service::Service;

use super::NewFlow;
use crate::endpoint::Health;

/// An appliance: the service of an endpoint, which takes every flow and answers with itself.
///
/// [`appliances`](super::appliances()) makes it of an address. Clones share the state.
#[derive(Clone, Debug)]
pub struct Appliance {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The standing in the lowest two bits, and above them how often it has become worse. One
    /// word, so that a flow reads one atomic for each packet.
    word: AtomicU32,
}

/// What discovery says of an appliance, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It may get flows.
    Serving,
    /// Its checks fail.
    Unhealthy,
    /// It is draining, or no endpoint any more.
    Deregistered,
}

const STANDING_BITS: u32 = 2;

impl Appliance {
    /// Creates an appliance that always serves, for services other than a balancer.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, state: Arc::new(State { word: AtomicU32::new(0) }) }
    }

    /// Returns the address to which packets are sent, mostly of port 6081.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the standing, and how often it has become worse.
    pub(crate) fn standing(&self) -> (Standing, u32) {
        let word = self.state.word.load(Relaxed);
        let standing = match word & ((1 << STANDING_BITS) - 1) {
            0 => Standing::Serving,
            1 => Standing::Unhealthy,
            _ => Standing::Deregistered,
        };
        (standing, word >> STANDING_BITS)
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        let (before, mut failures) = self.standing();
        if standing > before {
            failures = failures.wrapping_add(1);
        }
        // Only the stream of the endpoints writes it.
        self.state.word.store(failures << STANDING_BITS | standing as u32, Relaxed);
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

impl Standing {
    pub(super) fn of(health: &Health) -> Self {
        match health {
            Health::Healthy | Health::Degraded(_) => Self::Serving,
            Health::Unhealthy(_) => Self::Unhealthy,
            Health::Draining(_) => Self::Deregistered,
        }
    }
}

impl Service<NewFlow> for Appliance {
    type Response = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: NewFlow) -> Self::Future {
        ready(Ok(self.clone()))
    }
}
