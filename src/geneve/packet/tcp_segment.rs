use etherparse::TcpHeaderSlice;

/// What the header of a TCP segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpSegment {
    pub(crate) flags: TcpFlags,
    pub(crate) sequence: u32,
    /// Counts only if the flags say so.
    pub(crate) acknowledgment: u32,
    /// The bytes of data.
    pub(crate) data_len: u32,
}

/// The flags of a TCP segment that matter to the state of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are bits of TCP")]
pub(crate) struct TcpFlags {
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
}

impl TcpSegment {
    /// Reads the segment that is the payload of an IP packet, and the length of its header.
    pub(super) fn parse(payload: &[u8]) -> Option<(TcpHeaderSlice<'_>, Self)> {
        let header = TcpHeaderSlice::from_slice(payload).ok()?;
        let segment = Self {
            flags: TcpFlags {
                syn: header.syn(),
                ack: header.ack(),
                fin: header.fin(),
                rst: header.rst(),
            },
            sequence: header.sequence_number(),
            acknowledgment: header.acknowledgment_number(),
            data_len: (payload.len() - header.slice().len()) as u32,
        };
        Some((header, segment))
    }

    /// Returns true if it opens a connection: a SYN without ACK.
    pub(crate) fn opens(&self) -> bool {
        self.flags.syn && !self.flags.ack && !self.flags.rst && !self.flags.fin
    }

    /// Returns the sequence number after the segment. SYN and FIN count as one byte each.
    pub(crate) fn end(&self) -> u32 {
        let controls = u32::from(self.flags.syn) + u32::from(self.flags.fin);
        self.sequence.wrapping_add(self.data_len).wrapping_add(controls)
    }
}
