use std::{fmt, net::IpAddr, ops::Range};

use bytes::Bytes;
use etherparse::{IpNumber, IpSlice, err::ip::SliceError};

use super::{Fragment, PacketError, TcpSegment};
use crate::geneve::AwsOptions;

/// An IP packet whose headers were parsed once.
///
/// The bytes are shared: cloning and passing on a packet copies none of them.
#[derive(Clone)]
pub struct Packet {
    bytes: Bytes,
    options: Option<AwsOptions>,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    ports: Option<(u16, u16)>,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) tcp: Option<TcpSegment>,
    /// Where the payload is in the bytes.
    payload: Range<usize>,
}

/// The EtherTypes of the two versions.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const TCP: u8 = IpNumber::TCP.0;

impl Packet {
    /// Parses an IPv4 or IPv6 packet, which begins with the IP header. Checksums are not verified.
    ///
    /// # Errors
    ///
    /// Returns a [`PacketError`] if a header is invalid, or if the packet is shorter than they say.
    pub fn parse(bytes: Bytes) -> Result<Self, PacketError> {
        let ip = match IpSlice::from_slice(&bytes) {
            Ok(ip) => ip,
            Err(error) => return Err(reason(&bytes, &error)),
        };
        let fragment = match &ip {
            IpSlice::Ipv4(ip) => Fragment::of_ipv4(&ip.header()),
            IpSlice::Ipv6(ip) => Fragment::of_ipv6(ip.extensions()),
        };
        let (source, destination) = (ip.source_addr(), ip.destination_addr());
        let protocol = ip.payload().ip_number;
        // It ends where the IP header says, which may be before the end of the bytes.
        let payload = ip.payload().payload;
        let (ports, tcp, header_len) = transport(protocol, payload, fragment)?;
        // The payload is a part of the bytes, so this is the distance of their beginnings.
        let start = payload.as_ptr() as usize - bytes.as_ptr() as usize;
        let payload = start + header_len..start + payload.len();
        let options = None;
        Ok(Self { bytes, options, source, destination, protocol, ports, fragment, tcp, payload })
    }

    pub(crate) fn with_options(self, options: AwsOptions) -> Self {
        Self { options: Some(options), ..self }
    }

    /// Returns the whole packet, from the IP header on.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the options that came with the packet. `None` if it did not come through GENEVE.
    #[must_use]
    pub fn options(&self) -> Option<&AwsOptions> {
        self.options.as_ref()
    }

    /// Returns the source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Returns the destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Returns the number of the protocol above IP, after all extension headers: 6 for TCP, 17 for
    /// UDP, 1 for ICMP, 58 for ICMPv6.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol.0
    }

    /// Returns the source port. `None` unless it is TCP or UDP, and for all but the first fragment
    /// of a packet.
    #[must_use]
    pub fn source_port(&self) -> Option<u16> {
        self.ports.map(|(source, _)| source)
    }

    /// Returns the destination port. `None` unless it is TCP or UDP, and for all but the first
    /// fragment of a packet.
    #[must_use]
    pub fn destination_port(&self) -> Option<u16> {
        self.ports.map(|(_, destination)| destination)
    }

    /// Returns true if the packet is a fragment of a larger one.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    /// Returns what follows the header of TCP or UDP. With other protocols, and for fragments, it
    /// is what follows the IP headers. Bytes after the length that the IP header says are no part
    /// of it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload.clone()).unwrap_or_default()
    }

    pub(crate) fn ether_type(&self) -> u16 {
        if self.source.is_ipv4() { IPV4 } else { IPV6 }
    }
}

type Transport = (Option<(u16, u16)>, Option<TcpSegment>, usize);

/// Returns the ports, the TCP segment and the length of the header of TCP or UDP, as far as the
/// packet has them.
fn transport(
    protocol: IpNumber,
    payload: &[u8],
    fragment: Option<Fragment>,
) -> Result<Transport, PacketError> {
    let ports = || match payload {
        &[a, b, c, d, ..] => Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        _ => None,
    };
    let invalid = PacketError::TransportHeader;
    match (protocol, fragment) {
        (_, Some(Fragment::Later(_))) => Ok((None, None, 0)),
        (IpNumber::TCP | IpNumber::UDP, Some(Fragment::First(_))) => {
            // The rest of the header may be in the next fragment. Without ports, the packet could
            // pass as one of another flow.
            Ok((Some(ports().ok_or(invalid)?), None, 0))
        }
        (IpNumber::TCP, None) => {
            let (header, segment) = TcpSegment::parse(payload).ok_or(invalid)?;
            let ports = (header.source_port(), header.destination_port());
            Ok((Some(ports), Some(segment), header.slice().len()))
        }
        (IpNumber::UDP, None) if payload.len() >= UDP_HEADER => Ok((ports(), None, UDP_HEADER)),
        (IpNumber::UDP, None) => Err(invalid),
        _ => Ok((None, None, 0)),
    }
}

const UDP_HEADER: usize = 8;

fn reason(bytes: &[u8], error: &SliceError) -> PacketError {
    match (bytes.first().map_or(0, |first| first >> 4), error) {
        (4 | 6, SliceError::Len(_)) => PacketError::Truncated,
        (4 | 6, SliceError::IpHeaders(_)) => PacketError::IpHeader,
        (version, _) => PacketError::Version(version),
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({self}, {} bytes)", self.bytes.len())
    }
}

impl fmt::Display for Packet {
    /// The protocol and both ends, such as "TCP 10.0.0.1:4711 > 192.0.2.7:443".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol.keyword_str() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "protocol {}", self.protocol.0)?,
        }
        let end = |address: IpAddr, port: Option<u16>| match port {
            Some(port) => std::net::SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let source = end(self.source, self.source_port());
        write!(f, " {source} > {}", end(self.destination, self.destination_port()))?;
        if self.is_fragment() { f.write_str(" (fragment)") } else { Ok(()) }
    }
}
