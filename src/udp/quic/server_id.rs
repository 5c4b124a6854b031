use std::{fmt, str::FromStr};

use crate::ParseError;

/// The label of an endpoint that has its [`ServerId`] in hexadecimal digits, such as `c4605e` or
/// `0x00000000000000a1`.
pub const SERVER_ID_LABEL: &str = "quic_server_id";

/// Names a server within datagrams: 1 to 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId {
    bytes: [u8; MAX_BYTES],
    len: u8,
}

/// A connection id of QUIC version 1 has at most 20 bytes, of which QUIC-LB leaves 15.
pub(super) const MAX_BYTES: usize = 15;

impl ServerId {
    /// Creates an id; `None` unless it has 1 to 15 bytes.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        if id.is_empty() {
            return None;
        }
        let mut bytes = [0; MAX_BYTES];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { bytes, len: id.len() as u8 })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl FromStr for ServerId {
    type Err = ParseError;

    /// Parses 2 to 30 hexadecimal digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let invalid =
            || ParseError::new("server id", text, "2 to 30 hexadecimal digits, two a byte");
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8]| match *pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
        bytes.and_then(|bytes| Self::new(&bytes)).ok_or_else(invalid)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_and_shown_in_hexadecimal_digits() {
        let parse = |text: &str| text.parse::<ServerId>().map(|id| id.to_string());
        assert_eq!(parse("C4605E").unwrap(), "c4605e");
        assert_eq!(parse("0x00000000000000a1").unwrap(), "00000000000000a1");
        for invalid in ["", "0x", "abc", "zz", "+1", "é", &"00".repeat(16)] {
            assert!(parse(invalid).is_err(), "{invalid}");
        }
        assert_eq!(ServerId::new(&[7; 15]).unwrap().as_bytes(), [7; 15]);
        assert_eq!((ServerId::new(&[]), ServerId::new(&[7; 16])), (None, None));
    }
}
