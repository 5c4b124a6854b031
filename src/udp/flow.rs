use std::net::SocketAddr;

use super::ServerId;
use crate::{
    flow::FlowKey,
    hash::ip_hash,
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
};

/// The request of a flow: the datagrams from one client address to one address of the relay.
///
/// A balancer picks an endpoint for it once. For strategies that hash, a flow has two keys:
///
/// ```
/// use tower_lb::{strategy::Maglev, udp::Flow};
///
/// let each_flow = Maglev::new(|flow: &Flow| Some(flow.hash()));
/// let each_client = Maglev::new(|flow: &Flow| Some(flow.source_hash()));
/// ```
#[derive(Clone, Debug)]
pub struct Flow {
    key: FlowKey,
    server_id: Option<ServerId>,
    attempts: Option<Attempts>,
}

impl Flow {
    /// Creates the request of the flow from `client` to `local`, the address that the client sends
    /// to.
    #[must_use]
    pub fn new(client: SocketAddr, local: SocketAddr) -> Self {
        Self {
            key: FlowKey::five_tuple(FlowKey::UDP, client, local),
            server_id: None,
            attempts: None,
        }
    }

    /// Sets the server id that the first datagram names. Default none.
    #[must_use]
    pub fn with_server_id(mut self, server_id: impl Into<Option<ServerId>>) -> Self {
        self.server_id = server_id.into();
        self
    }

    /// Returns the client's address.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.key.source()
    }

    /// Returns the address that the client sends to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.key.destination()
    }

    /// Returns the key of the flow.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// Returns the server id that the first datagram names.
    #[must_use]
    pub fn server_id(&self) -> Option<ServerId> {
        self.server_id
    }

    /// Returns a hash of both addresses and ports, which is the same in every process.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.key.hash(0)
    }

    /// Returns a hash of the client's IP address, which is the same in every process: all flows of
    /// a client have it.
    #[must_use]
    pub fn source_hash(&self) -> u64 {
        ip_hash(self.client().ip())
    }
}

impl Carry for Flow {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl RetryableRequest for Flow {
    /// To open a socket sends nothing.
    fn retry_safety(&self) -> RetrySafety {
        RetrySafety::Idempotent
    }

    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}
