use std::{error::Error as StdError, fmt};

use crate::geneve::PacketError;

/// Why a datagram does not contain a packet that may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The datagram ends within the header.
    Truncated,
    /// The version is not 0.
    Version(u8),
    /// An option, or what is left of the option area, does not fit into it.
    OptionOverrun,
    /// An option that the receiver does not know is marked as critical.
    UnknownCriticalOption {
        /// The class of the option.
        class: u16,
        /// The type of the option, with the bit that marks it as critical.
        kind: u8,
    },
    /// One of AWS's three options is missing.
    MissingOption,
    /// One of AWS's options has the wrong length, or is there twice.
    InvalidOption,
    /// The O bit is set: the payload is a control message, not a packet.
    Control,
    /// The payload is neither IPv4 nor IPv6, or not of the version that the header names. The
    /// number is the EtherType of the header.
    Protocol(u16),
    /// The inner packet is invalid.
    Packet(PacketError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the datagram ends within the GENEVE header"),
            Self::Version(version) => write!(f, "GENEVE version {version}: expected 0"),
            Self::OptionOverrun => f.write_str("a GENEVE option exceeds the option area"),
            Self::UnknownCriticalOption { class, kind } => {
                write!(f, "unknown critical option of class {class:#06x}, type {kind:#04x}")
            }
            Self::MissingOption => f.write_str("one of the options of class 0x0108 is missing"),
            Self::InvalidOption => f.write_str("an option of class 0x0108 is invalid"),
            Self::Control => f.write_str("the payload is a control message"),
            Self::Protocol(ether_type) => {
                write!(f, "payload of EtherType {ether_type:#06x}: expected IPv4 or IPv6")
            }
            Self::Packet(_) => f.write_str("the inner packet is invalid"),
        }
    }
}

impl StdError for DecodeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Packet(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PacketError> for DecodeError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}
