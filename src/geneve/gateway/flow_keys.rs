use std::time::Duration;

use tokio::time::Instant;

use super::{GatewayBuilder, Stickiness, status::DropReason};
use crate::{
    ConfigError,
    flow::{FlowKey, FlowTable},
    geneve::{Packet, packet::Fragment},
};

/// Tells which flow a packet belongs to.
///
/// A five-tuple needs ports, which only the first fragment of a packet has. So it is remembered
/// which flow a first fragment belonged to, and later fragments follow it. Nothing is reassembled.
pub(super) struct FlowKeys {
    stickiness: Stickiness,
    fragments: FlowTable<FlowKey, (FlowKey, u32)>,
}

/// The fragmented packets that are remembered at most.
const MAX_FRAGMENTED: u32 = 4096;
/// How long a fragmented packet is remembered. Linux waits as long for missing fragments.
const FRAGMENT_IDLE: Duration = Duration::from_secs(30);

impl FlowKeys {
    pub(super) fn new(settings: &GatewayBuilder) -> Result<Self, ConfigError> {
        let fragments = settings.table(MAX_FRAGMENTED).idle_timeouts([FRAGMENT_IDLE]);
        Ok(Self { stickiness: settings.stickiness, fragments: fragments.build_keyed()? })
    }

    /// Returns the key of a packet's flow, in the packet's direction, and remembers the flow of a
    /// first fragment.
    pub(super) fn learn(&mut self, packet: &Packet, now: Instant) -> Result<FlowKey, DropReason> {
        let key = self.find(packet, now)?;
        if let (Some(Fragment::First(id)), Stickiness::FiveTuple, true) =
            (packet.fragment, self.stickiness, packet.source_port().is_some())
        {
            let packet_id = fragmented(packet, id);
            // Never refused: at its share, a source displaces its own oldest fragmented packet.
            let _ = self.fragments.insert(packet_id, packet.source(), 0, key, now);
        }
        Ok(key)
    }

    /// Returns the key as [`learn`](Self::learn) does, but remembers nothing, because the sender is
    /// not verified yet.
    pub(super) fn find(&mut self, packet: &Packet, now: Instant) -> Result<FlowKey, DropReason> {
        let (source, destination) = (packet.source(), packet.destination());
        let three_tuple = || FlowKey::three_tuple(packet.protocol(), source, destination);
        match self.stickiness {
            Stickiness::TwoTuple => return Ok(FlowKey::two_tuple(source, destination)),
            Stickiness::ThreeTuple => return Ok(three_tuple()),
            Stickiness::FiveTuple => {}
        }
        if let (Some(source_port), Some(destination_port)) =
            (packet.source_port(), packet.destination_port())
        {
            let (source, destination) = ((source, source_port), (destination, destination_port));
            return Ok(FlowKey::five_tuple(packet.protocol(), source.into(), destination.into()));
        }
        if let Some(Fragment::Later(id)) = packet.fragment {
            if let Some(key) = self.fragments.peek(&fragmented(packet, id), now) {
                return Ok(*key);
            }
            if matches!(packet.protocol(), FlowKey::TCP | FlowKey::UDP) {
                return Err(DropReason::FragmentWithoutFirst);
            }
        }
        Ok(three_tuple())
    }

    /// Forgets fragmented packets that are complete, or never will be.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.fragments.pop_expired(now).is_some() {}
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.fragments.next_expiry()
    }
}

/// Identifies a fragmented packet. The number of an IPv4 packet is unique for its protocol. With
/// IPv6, the fragments need not agree on the protocol: extension headers may be in the first one.
fn fragmented(packet: &Packet, id: u32) -> (FlowKey, u32) {
    let (source, destination) = (packet.source(), packet.destination());
    let between = if source.is_ipv4() {
        FlowKey::three_tuple(packet.protocol(), source, destination)
    } else {
        FlowKey::two_tuple(source, destination)
    };
    (between, id)
}
