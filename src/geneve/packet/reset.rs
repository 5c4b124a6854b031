//! Builds TCP resets.
//!
//! Source: RFC 9293, section 3.10.7.1, for answers; RFC 5961 for connections that are reset from
//! the middle: the sequence number must be exactly the one that the receiver expects next.

use std::net::IpAddr;

use bytes::Bytes;
use etherparse::{PacketBuilder, TcpHeader};

use super::Packet;

/// The addresses and ports of a packet, from its sender to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: (IpAddr, u16),
    pub(crate) destination: (IpAddr, u16),
}

impl Ends {
    pub(crate) fn of(packet: &Packet) -> Option<Self> {
        Some(Self {
            source: (packet.source(), packet.source_port()?),
            destination: (packet.destination(), packet.destination_port()?),
        })
    }

    pub(crate) fn reversed(self) -> Self {
        Self { source: self.destination, destination: self.source }
    }
}

/// Builds the reset that answers a segment which belongs to no connection. `None` for a segment
/// that is not answered: a reset, or one to or from an address that is not that of one host.
pub(crate) fn answer_to(packet: &Packet) -> Option<Bytes> {
    let segment = packet.tcp?;
    if segment.flags.rst {
        return None;
    }
    let back = Ends::of(packet)?.reversed();
    if segment.flags.ack {
        reset(back, segment.acknowledgment, None)
    } else {
        reset(back, 0, Some(segment.end()))
    }
}

/// The hops that a reset may travel.
const HOP_LIMIT: u8 = 64;

/// Builds a reset from `ends.source` to `ends.destination`.
pub(crate) fn reset(ends: Ends, sequence: u32, acknowledgment: Option<u32>) -> Option<Bytes> {
    let Ends { source: (source, source_port), destination: (destination, destination_port) } = ends;
    if !(is_host(source) && is_host(destination)) {
        return None;
    }
    let ip = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), HOP_LIMIT)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), HOP_LIMIT)
        }
        _ => return None,
    };
    let mut header = TcpHeader::new(source_port, destination_port, sequence, 0);
    header.rst = true;
    header.ack = acknowledgment.is_some();
    header.acknowledgment_number = acknowledgment.unwrap_or(0);
    let packet = ip.tcp_header(header);
    let mut bytes = Vec::with_capacity(packet.size(0));
    // Writing into a vector never fails, and an empty payload is never too long.
    packet.write(&mut bytes, &[]).ok()?;
    Some(bytes.into())
}

fn is_host(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || is_broadcast)
}

/// For the fuzz targets: returns the reset that answers a segment.
#[cfg(tower_lb_fuzz)]
pub fn reset_of(packet: &Packet) -> Option<Bytes> {
    answer_to(packet)
}
