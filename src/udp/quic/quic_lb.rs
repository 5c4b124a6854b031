use super::{ServerId, server_id::MAX_BYTES};
use crate::ConfigError;

/// Finds the server id in QUIC packets, by the plaintext layout of QUIC-LB.
///
/// A connection id consists of a first octet, the server id and a nonce. The upper three bits of
/// the first octet are the config id. A packet has a server id if its destination connection id is
/// long enough and has the config id. Packets of the types Initial and 0-RTT, and of versions other
/// than 1 and 2, have none, because clients choose their connection ids at random.
///
/// ```
/// use tower_lb::udp::QuicLb;
///
/// let layout = QuicLb::new(0, 3)?;
/// // A short header, then the connection id.
/// let packet = [0x40, 0x07, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f, 0, 0, 0];
/// assert_eq!(layout.server_id(&packet), "c4605e".parse().ok());
/// # Ok::<(), tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicLb {
    config_id: u8,
    server_id_bytes: usize,
    nonce_bytes: usize,
}

/// The config id of connection ids that name no server.
const UNROUTABLE: u8 = 7;
const MIN_NONCE_BYTES: usize = 4;
/// What QUIC version 1 leaves for server id and nonce, beside the first octet.
const MAX_ID_BYTES: usize = 19;

const VERSION_1: u32 = 1;
/// RFC 9369.
const VERSION_2: u32 = 0x6B33_43CF;

impl QuicLb {
    /// Creates the layout of connection ids with the config id 0 to 6 and a server id of 1 to 15
    /// bytes.
    ///
    /// # Errors
    ///
    /// If either is out of range.
    pub fn new(config_id: u8, server_id_bytes: usize) -> Result<Self, ConfigError> {
        ConfigError::unless(config_id < UNROUTABLE, "config_id", config_id, "0 to 6")?;
        let is_valid = (1..=MAX_BYTES).contains(&server_id_bytes);
        ConfigError::unless(is_valid, "server_id_bytes", server_id_bytes, "1 to 15")?;
        Ok(Self { config_id, server_id_bytes, nonce_bytes: MIN_NONCE_BYTES })
    }

    /// Sets the length of the nonce in bytes. Default 4, the minimum. A packet of a short header
    /// must be that long; longer nonces need no other setting.
    ///
    /// # Errors
    ///
    /// If it is below 4, or above 19 together with the server id.
    pub fn nonce_bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        let most = MAX_ID_BYTES - self.server_id_bytes;
        let is_valid = (MIN_NONCE_BYTES..=most).contains(&bytes);
        ConfigError::unless(is_valid, "nonce_bytes", bytes, "at least 4, and 19 with the id")?;
        self.nonce_bytes = bytes;
        Ok(self)
    }

    /// Returns the server id that a UDP payload names, or `None` if it names no server.
    #[must_use]
    pub fn server_id(&self, datagram: &[u8]) -> Option<ServerId> {
        self.server_id_in(connection_id(datagram)?)
    }

    /// Returns the server id in a connection id.
    #[must_use]
    pub fn server_id_in(&self, connection_id: &[u8]) -> Option<ServerId> {
        let (first, rest) = connection_id.split_first()?;
        if first >> 5 != self.config_id || rest.len() < self.server_id_bytes + self.nonce_bytes {
            return None;
        }
        ServerId::new(&rest[..self.server_id_bytes])
    }

    /// Returns a connection id that names the server, with `nonce` at its end; `None` if the length
    /// of either does not fit. The lower bits of the first octet are the length, as QUIC-LB has it.
    ///
    /// The nonce must be unique for each connection id of the server, and should be random.
    #[must_use]
    pub fn connection_id(&self, server_id: ServerId, nonce: &[u8]) -> Option<Vec<u8>> {
        let id = server_id.as_bytes();
        let len = id.len() + nonce.len();
        let fits = id.len() == self.server_id_bytes
            && nonce.len() >= self.nonce_bytes
            && len <= MAX_ID_BYTES;
        let first = self.config_id << 5 | len as u8;
        fits.then(|| [&[first], id, nonce].concat())
    }
}

/// Returns the destination connection id of a packet, if the server may have issued it. That of a
/// short header has no length on the wire: the rest of the packet is returned.
fn connection_id(datagram: &[u8]) -> Option<&[u8]> {
    let (&first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return Some(rest);
    }
    let (version, rest) = rest.split_first_chunk()?;
    let kind = first >> 4 & 3;
    // Handshake packets are the only ones with a long header that clients send later.
    let is_handshake = match u32::from_be_bytes(*version) {
        VERSION_1 => kind == 2,
        VERSION_2 => kind == 3,
        _ => false,
    };
    let (&len, rest) = rest.split_first()?;
    rest.get(..usize::from(len)).filter(|_| is_handshake)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(digits: &str) -> Vec<u8> {
        let pairs = (0..digits.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn id(digits: &str) -> Option<ServerId> {
        digits.parse().ok()
    }

    /// The vectors of the draft, appendix B. The second is printed there with two octets swapped.
    #[test]
    fn the_vectors_of_the_draft_are_read() {
        let first = QuicLb::new(0, 3).unwrap();
        assert_eq!(first.server_id_in(&hex("07c4605e4504cc4f")), id("c4605e"));
        let second = QuicLb::new(1, 4).unwrap().nonce_bytes(6).unwrap();
        assert_eq!(second.server_id_in(&hex("2a350d28b42003487d970b")), id("350d28b4"));
        let made = first.connection_id(id("c4605e").unwrap(), &hex("4504cc4f"));
        assert_eq!(made, Some(hex("07c4605e4504cc4f")));
        assert_eq!(first.connection_id(id("c460").unwrap(), &[0; 4]), None);
    }

    #[test]
    fn only_ids_that_servers_issue_are_read() {
        let layout = QuicLb::new(0, 3).unwrap();
        let cid = "07c4605e4504cc4f";
        let long = |first: &str, version: &str, len: &str| {
            layout.server_id(&hex(&format!("{first}{version}{len}{cid}0000")))
        };
        let found = id("c4605e");
        assert_eq!(layout.server_id(&hex(&format!("40{cid}"))), found);
        assert_eq!(long("e0", "00000001", "08"), found, "Handshake");
        assert_eq!(long("c0", "00000001", "08"), None, "Initial");
        assert_eq!(long("d0", "00000001", "08"), None, "0-RTT");
        assert_eq!(long("f0", "6b3343cf", "08"), found, "Handshake of version 2");
        assert_eq!(long("d0", "6b3343cf", "08"), None, "Initial of version 2");
        assert_eq!(long("e0", "00000000", "08"), None, "version negotiation");
        assert_eq!(long("e0", "00000001", "07"), None, "too short");
        assert_eq!(long("e0", "00000001", "ff"), None, "beyond the packet");
        assert_eq!(layout.server_id(&hex("4007c4605e4504cc")), None, "too short");
        assert_eq!(layout.server_id(&hex("4027c4605e4504cc4f")), None, "another config id");
        // DTLS: the first octet of what would be a connection id is FE, so the config id is 7.
        assert_eq!(layout.server_id(&hex("16fefd0000000000000000")), None);
    }

    #[test]
    fn settings_out_of_range_are_errors() {
        assert!(QuicLb::new(7, 3).is_err());
        assert!(QuicLb::new(0, 0).is_err() && QuicLb::new(0, 16).is_err());
        let layout = QuicLb::new(6, 15).unwrap();
        assert!(layout.nonce_bytes(4).is_ok());
        assert!(layout.nonce_bytes(3).is_err() && layout.nonce_bytes(5).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            config_id in 0_u8..7, len in 1_usize..16, prefix in prop::option::of(0_usize..3),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            // Half of the cases begin as packets with a long header do.
            let prefix = prefix.map(|kind| [&hex("e000000001")[..], &hex("f06b3343cf"), &[]][kind].to_vec());
            let datagram = [prefix.unwrap_or_default(), bytes].concat();
            let layout = QuicLb::new(config_id, len).unwrap();
            let found = layout.server_id(&datagram);
            prop_assert!(found.is_none_or(|id| id.as_bytes().len() == len));
        }

        #[test]
        fn an_id_that_was_made_is_read(
            config_id in 0_u8..7,
            server in prop::collection::vec(any::<u8>(), 1..12),
            nonce in prop::collection::vec(any::<u8>(), 4..8),
        ) {
            let layout = QuicLb::new(config_id, server.len()).unwrap();
            let server = ServerId::new(&server).unwrap();
            let cid = layout.connection_id(server, &nonce).unwrap();
            prop_assert_eq!(layout.server_id_in(&cid), Some(server));
            let short = [&[0x40], &cid[..], &[0; 9]].concat();
            prop_assert_eq!(layout.server_id(&short), Some(server));
        }
    }
}
