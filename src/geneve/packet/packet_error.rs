use std::{error::Error as StdError, fmt};

/// Why bytes are not an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// The version is neither 4 nor 6. An empty packet has version 0.
    Version(u8),
    /// The packet is shorter than its headers say.
    Truncated,
    /// The IP header or one of its extensions is invalid.
    IpHeader,
    /// The packet ends within the header of TCP or UDP, or that header is invalid.
    TransportHeader,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "IP version {version}: expected 4 or 6"),
            Self::Truncated => f.write_str("the packet is shorter than its headers say"),
            Self::IpHeader => f.write_str("an IP header is invalid"),
            Self::TransportHeader => f.write_str("the header of TCP or UDP is invalid"),
        }
    }
}

impl StdError for PacketError {}
