//! Inner packets: what an IP packet says of its flow, and the resets of TCP connections.
//!
//! - `packet`: an IP packet whose headers were parsed once.
//! - `packet_error`: why bytes are not one.
//! - `fragment`: the part of a packet that a fragment is.
//! - `tcp_segment`: the header of a TCP segment, and what follows a TCP connection.
//! - `reset`: building a TCP reset.

mod fragment;
#[allow(clippy::module_inception)]
mod packet;
mod packet_error;
mod reset;
mod tcp_segment;

#[cfg(tower_lb_fuzz)]
pub use self::reset::reset_of;
pub(super) use self::{
    fragment::Fragment,
    packet::{IPV4, IPV6, TCP},
    reset::{Ends, answer_to, reset},
    tcp_segment::TcpSegment,
};
pub use self::{packet::Packet, packet_error::PacketError};
