use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, TunnelOption};
use crate::ConfigError;

/// A GENEVE header, as it is on the wire.
///
/// The options lie within the header and end with it. A header that was received can be sent back
/// unchanged, with the bits that are reserved.
///
/// Source: RFC 8926, section 3.4.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    bytes: Bytes,
}

/// The bytes of a header before its options.
const FIXED_LEN: usize = 8;
/// The length of the options is 6 bits wide and counts words of 4 bytes.
const MAX_OPTIONS_LEN: usize = 63 * 4;
const CONTROL: u8 = 0x80;
const CRITICAL: u8 = 0x40;

impl Header {
    /// Creates a header for a payload of the EtherType `protocol` in the virtual network
    /// `network`, of which the lower 24 bits are used.
    ///
    /// # Errors
    ///
    /// Returns an error if the data of an option is longer than 124 bytes or not a multiple of 4,
    /// or if all options are longer than 252 bytes.
    pub fn new<'a>(
        protocol: u16,
        network: u32,
        options: impl IntoIterator<Item = TunnelOption<'a>> + Clone,
    ) -> Result<Self, ConfigError> {
        let (mut options_len, mut flags) = (0, 0);
        for option in options.clone() {
            options_len += option.wire_len().ok_or_else(|| {
                let expected = "up to 124 bytes, and a multiple of 4";
                ConfigError::new("data", expected).with_value(option.data.len())
            })?;
            flags |= if option.is_critical() { CRITICAL } else { 0 };
        }
        let expected = "at most 252 bytes of options";
        ConfigError::unless(options_len <= MAX_OPTIONS_LEN, "options", options_len, expected)?;
        let mut bytes = BytesMut::with_capacity(FIXED_LEN + options_len);
        bytes.put_u8((options_len / 4) as u8);
        bytes.put_u8(flags);
        bytes.put_u16(protocol);
        bytes.put_u32(network << 8);
        options.into_iter().for_each(|option| option.write(&mut bytes));
        Ok(Self { bytes: bytes.freeze() })
    }

    /// Splits a datagram into its header and its payload, without copying either.
    ///
    /// # Errors
    ///
    /// Returns an error if the datagram is truncated, of another version than 0, or if its options
    /// do not add up to the length that the header names.
    pub fn split(mut datagram: Bytes) -> Result<(Self, Bytes), DecodeError> {
        let &first = datagram.first().ok_or(DecodeError::Truncated)?;
        if first >> 6 != 0 {
            return Err(DecodeError::Version(first >> 6));
        }
        let length = FIXED_LEN + usize::from(first & 0x3f) * 4;
        if datagram.len() < length {
            return Err(DecodeError::Truncated);
        }
        let header = Self { bytes: datagram.split_to(length) };
        let mut area = &header.bytes[FIXED_LEN..];
        while !area.is_empty() {
            (_, area) = TunnelOption::split(area)?;
        }
        Ok((header, datagram))
    }

    /// Returns the header as it is on the wire: 8 to 260 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the EtherType of the payload, such as 0x0800 for IPv4.
    #[must_use]
    pub fn protocol(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Returns the number of the virtual network: 24 bits, 0 with AWS.
    #[must_use]
    pub fn network(&self) -> u32 {
        u32::from_be_bytes([0, self.bytes[4], self.bytes[5], self.bytes[6]])
    }

    /// Returns true if the payload is a control message, which must not be passed on.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.bytes[1] & CONTROL != 0
    }

    /// Returns the options in their order.
    pub fn options(&self) -> impl Iterator<Item = TunnelOption<'_>> {
        let mut area = &self.bytes[FIXED_LEN..];
        std::iter::from_fn(move || {
            // Ends at the end of the area: `split` and `new` have seen to it that all fit.
            let (option, rest) = TunnelOption::split(area).ok()?;
            area = rest;
            Some(option)
        })
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("protocol", &format_args!("{:#06x}", self.protocol()))
            .field("network", &self.network())
            .field("is_control", &self.is_control())
            .field("options", &self.options().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(kind: u8, data: &[u8]) -> TunnelOption<'_> {
        TunnelOption { class: 0x0108, kind, data }
    }

    #[test]
    fn a_header_that_cannot_be_written_is_an_error() {
        assert!(Header::new(0x0800, 0, [option(1, &[0; 3])]).is_err());
        assert!(Header::new(0x0800, 0, [option(1, &[0; 128])]).is_err());
        assert!(Header::new(0x0800, 0, [option(1, &[0; 124]), option(2, &[0; 120])]).is_ok());
        let error =
            Header::new(0x0800, 0, [option(1, &[0; 124]), option(2, &[0; 124])]).unwrap_err();
        assert_eq!(error.to_string(), "`options` is 256: expected at most 252 bytes of options");
    }

    #[test]
    fn options_that_do_not_add_up_are_an_error() {
        let header = Header::new(0x0800, 0, [option(1, &[7; 8])]).unwrap();
        let mut bytes = BytesMut::from(&header.as_bytes()[..]);
        assert!(Header::split(bytes.clone().freeze()).is_ok());
        // The option claims one word more than there is.
        bytes[FIXED_LEN + 3] += 1;
        assert_eq!(Header::split(bytes.clone().freeze()), Err(DecodeError::OptionOverrun));
        // It claims one word less: the rest of its data reads as the next option, of 28 bytes.
        bytes[FIXED_LEN + 3] -= 2;
        assert_eq!(Header::split(bytes.freeze()), Err(DecodeError::OptionOverrun));
    }

    #[test]
    fn a_critical_option_sets_the_bit_of_the_header() {
        let critical = Header::new(0x86dd, 0x0012_3456, [option(0x81, &[])]).unwrap();
        assert_eq!(critical.as_bytes()[1], CRITICAL);
        assert_eq!((critical.protocol(), critical.network()), (0x86dd, 0x0012_3456));
        assert!(!critical.is_control());
    }
}
