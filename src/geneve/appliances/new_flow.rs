use crate::{flow::FlowKey, geneve::Packet};

/// A flow that asks for an appliance: the request that a gateway sends to its balancer.
#[derive(Clone, Debug)]
pub struct NewFlow {
    key: FlowKey,
    seed: u64,
    packet: Packet,
}

impl NewFlow {
    pub(crate) fn new(key: FlowKey, seed: u64, packet: Packet) -> Self {
        Self { key, seed, packet }
    }

    /// Returns the key that all packets of the flow have in common, in both directions.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// Returns the packet that opened the flow, or the one after which the flow looks for another
    /// appliance.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Returns the hash of the key, for strategies that hash: `Maglev::new(NewFlow::hash)`.
    ///
    /// It is never `None`. Gateways of the same
    /// [`hash_seed`](crate::geneve::GatewayBuilder::hash_seed) agree on it.
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        Some(self.key.hash(self.seed))
    }
}
