use std::{
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll},
};

use tokio::net::UdpSocket;
use tower_service::Service;

use super::{Flow, ServerId, socket};
use crate::{BoxError, discover::Informed, endpoint::Health};

/// An endpoint of a UDP relay: a service that opens a connected socket for each flow.
///
/// [`targets`](super::targets) makes one of each address and keeps it informed about the state of
/// its endpoint.
///
/// A socket needs a file descriptor and a port. A lack of either is a
/// [`CallerError`](crate::outcome::CallerError), which is not charged to the endpoint. A target
/// that is the relay itself is a [`TargetLoop`](super::TargetLoop).
#[derive(Clone, Debug)]
pub struct UdpTarget {
    address: SocketAddr,
    server_id: Option<ServerId>,
    presence: Arc<Presence>,
}

/// Whether the endpoint of a target is still there. The stream of endpoints writes it, and flows
/// read it.
// Acquire and release: a flow that learns of a change also sees what the balancer has published
// before.
#[derive(Debug, Default)]
struct Presence {
    is_removed: AtomicBool,
    /// How often the endpoint became unhealthy. A flow that began while it was unhealthy, because
    /// no endpoint was better, is lost only when it gets unhealthy anew.
    lapses: AtomicU32,
}

/// What discovery says of a target, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Its flows stay, also while it drains.
    Serving,
    /// Its checks fail.
    Unhealthy,
    /// It is no endpoint any more.
    Removed,
}

impl Informed for UdpTarget {
    type Standing = Standing;

    const REMOVED: Standing = Standing::Removed;

    fn standing_of(health: &Health) -> Standing {
        match health {
            Health::Unhealthy(_) => Standing::Unhealthy,
            Health::Healthy | Health::Degraded(_) | Health::Draining(_) => Standing::Serving,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.presence, &other.presence)
    }

    fn inform(&self, standing: Standing) {
        match standing {
            Standing::Serving => {}
            Standing::Unhealthy => {
                self.presence.lapses.fetch_add(1, Release);
            }
            Standing::Removed => self.presence.is_removed.store(true, Release),
        }
    }
}

impl Presence {
    fn lapses(&self) -> u32 {
        self.lapses.load(Acquire)
    }
}

impl UdpTarget {
    /// Creates a target that is never removed and always healthy.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, server_id: None, presence: Arc::default() }
    }

    /// Sets the server id by which datagrams may name the target. Default none.
    #[must_use]
    pub fn with_server_id(mut self, server_id: impl Into<Option<ServerId>>) -> Self {
        self.server_id = server_id.into();
        self
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the server id, if it has one.
    #[must_use]
    pub fn server_id(&self) -> Option<ServerId> {
        self.server_id
    }

    pub(super) fn open(&self, flow: &Flow) -> Result<FlowSocket, BoxError> {
        let socket = socket::connect(self.address, Some(flow.local()))?;
        Ok(FlowSocket {
            socket: Arc::new(UdpSocket::from_std(socket)?),
            server_id: self.server_id,
            lapses: self.presence.lapses(),
            presence: Arc::clone(&self.presence),
        })
    }
}

impl Service<Flow> for UdpTarget {
    type Response = FlowSocket;
    type Error = BoxError;
    type Future = Ready<Result<FlowSocket, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, flow: Flow) -> Self::Future {
        ready(self.open(&flow))
    }
}

/// A socket that is connected to the target of one flow.
#[derive(Debug)]
pub struct FlowSocket {
    pub(super) socket: Arc<UdpSocket>,
    server_id: Option<ServerId>,
    presence: Arc<Presence>,
    /// Those of the endpoint when the flow began.
    lapses: u32,
}

/// Why a flow has lost its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Removed,
    Unhealthy,
}

impl FlowSocket {
    /// Wraps a socket that is connected to a target, for services of your own.
    #[must_use]
    pub fn new(socket: UdpSocket) -> Self {
        let (socket, presence) = (Arc::new(socket), Arc::default());
        Self { socket, server_id: None, presence, lapses: 0 }
    }

    /// Returns the server id of the target, if it has one.
    #[must_use]
    pub fn server_id(&self) -> Option<ServerId> {
        self.server_id
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        if self.presence.is_removed.load(Acquire) {
            return Some(Loss::Removed);
        }
        (self.presence.lapses() != self.lapses).then_some(Loss::Unhealthy)
    }
}
