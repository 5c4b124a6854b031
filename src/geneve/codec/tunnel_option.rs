use bytes::{BufMut, BytesMut};

use super::DecodeError;

/// One option of a GENEVE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelOption<'a> {
    /// The namespace of the type. AWS has 0x0108.
    pub class: u16,
    /// The type, with the bit that marks the option as critical (0x80).
    pub kind: u8,
    /// The data: up to 124 bytes, a multiple of 4.
    pub data: &'a [u8],
}

/// The bytes of an option before its data.
const OPTION_HEADER: usize = 4;
/// The length of the data is 5 bits wide and counts words of 4 bytes.
const MAX_DATA: usize = 31 * 4;

impl<'a> TunnelOption<'a> {
    /// Returns true if a receiver that does not know the option must drop the packet.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        self.kind & 0x80 != 0
    }

    /// Returns the first option of a non-empty option area, and the rest of the area.
    pub(super) fn split(area: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (&[class_high, class_low, kind, length], rest) =
            area.split_first_chunk::<OPTION_HEADER>().ok_or(DecodeError::OptionOverrun)?;
        // The upper three bits are reserved, and must be ignored.
        let length = usize::from(length & 0x1f) * 4;
        let (data, rest) = rest.split_at_checked(length).ok_or(DecodeError::OptionOverrun)?;
        Ok((Self { class: u16::from_be_bytes([class_high, class_low]), kind, data }, rest))
    }

    /// Returns the number of bytes on the wire; `None` if the data has an impossible length.
    pub(super) fn wire_len(&self) -> Option<usize> {
        let is_valid = self.data.len() <= MAX_DATA && self.data.len() % 4 == 0;
        is_valid.then_some(OPTION_HEADER + self.data.len())
    }

    /// Writes the option, whose `wire_len` is known.
    pub(super) fn write(&self, bytes: &mut BytesMut) {
        bytes.put_u16(self.class);
        bytes.put_u8(self.kind);
        bytes.put_u8((self.data.len() / 4) as u8);
        bytes.put_slice(self.data);
    }
}
