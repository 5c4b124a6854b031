use bytes::Bytes;

use super::{AwsOptions, DecodeError, Header};
use crate::geneve::{
    Packet,
    packet::{IPV4, IPV6},
};

/// Splits a datagram of a Gateway Load Balancer, or of one of its appliances, into its header and
/// its inner packet, without copying either.
///
/// The packet has the [options](Packet::options) of the header.
///
/// # Errors
///
/// Returns a [`DecodeError`] for each datagram that must not be passed on: an invalid header, an
/// unknown critical option, a missing option, a control message, or an inner packet that is
/// invalid.
pub fn decode(datagram: Bytes) -> Result<(Header, Packet), DecodeError> {
    let (header, payload) = Header::split(datagram)?;
    let options = AwsOptions::of(&header)?;
    if header.is_control() {
        return Err(DecodeError::Control);
    }
    let protocol = header.protocol();
    if !matches!(protocol, IPV4 | IPV6) {
        return Err(DecodeError::Protocol(protocol));
    }
    let packet = Packet::parse(payload)?.with_options(options);
    if packet.ether_type() != protocol {
        return Err(DecodeError::Protocol(protocol));
    }
    Ok((header, packet))
}
