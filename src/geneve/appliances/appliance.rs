use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll},
};

use tower_service::Service;

use super::NewFlow;
use crate::{discover::Informed, endpoint::Health};

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
    // Acquire and release: a flow that learns of a change also sees what the balancer has published
    // before.
    word: AtomicU32,
    /// Whether the address is one of this machine, once it is known.
    is_local: OnceLock<bool>,
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
        let state = State { word: AtomicU32::new(0), is_local: OnceLock::new() };
        Self { address, state: Arc::new(state) }
    }

    /// Returns the address to which packets are sent, mostly of port 6081.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns true if the address is one of this machine, as far as binding it tells, or if the
    /// operating system cannot tell now. Where all addresses can be bound (`ip_nonlocal_bind`),
    /// only loopback addresses count. An answer is remembered, because it needs system calls.
    pub(crate) fn is_local(&self) -> bool {
        if let Some(is_local) = self.state.is_local.get() {
            return *is_local;
        }
        // With the scope of a link-local address, without which none of them can be bound.
        let mut local = self.address;
        local.set_port(0);
        // Of a network for documentation, which no machine has.
        let foreign: SocketAddr = match local.ip().to_canonical() {
            IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1), 0).into(),
            IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 0).into(),
        };
        let is_local = match UdpSocket::bind(local) {
            Ok(_) => local.ip().to_canonical().is_loopback() || UdpSocket::bind(foreign).is_err(),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => false,
            // Such as a lack of descriptors.
            Err(_) => return true,
        };
        *self.state.is_local.get_or_init(|| is_local)
    }

    /// Returns the standing, and how often it has become worse.
    pub(crate) fn standing(&self) -> (Standing, u32) {
        let word = self.state.word.load(Acquire);
        let standing = match word & ((1 << STANDING_BITS) - 1) {
            0 => Standing::Serving,
            1 => Standing::Unhealthy,
            _ => Standing::Deregistered,
        };
        (standing, word >> STANDING_BITS)
    }
}

impl Informed for Appliance {
    type Standing = Standing;

    const REMOVED: Standing = Standing::Deregistered;

    fn standing_of(health: &Health) -> Standing {
        match health {
            Health::Healthy | Health::Degraded(_) => Standing::Serving,
            Health::Unhealthy(_) => Standing::Unhealthy,
            Health::Draining(_) => Standing::Deregistered,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    fn inform(&self, standing: Standing) {
        let (before, mut failures) = self.standing();
        if standing > before {
            failures = failures.wrapping_add(1);
        }
        // Only the stream of the endpoints writes it.
        self.state.word.store(failures << STANDING_BITS | standing as u32, Release);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appliance_remembers_whether_it_is_local() {
        let cases = [
            ("127.0.0.1:6081", true),
            ("[::ffff:127.0.0.1]:6081", true),
            ("192.0.2.1:6081", false),
        ];
        for (address, is_local) in cases {
            let appliance = Appliance::new(address.parse().unwrap());
            assert_eq!(appliance.state.is_local.get(), None);
            assert_eq!(appliance.is_local(), is_local, "{address}");
            assert_eq!(appliance.clone().state.is_local.get(), Some(&is_local));
        }
    }
}
