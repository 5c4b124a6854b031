use std::net::{IpAddr, SocketAddr};

use super::{ClientIdentity, ClientTls, Connection};

/// The PROXY header that targets get before the bytes of the client.
///
/// | | version 1 | version 2 |
/// |---|---|---|
/// | form | a line of text | binary |
/// | addresses of the client and of the connection | yes | yes |
/// | TLS that the listener has terminated, server name, protocol | | with [`tls_details`](Self::tls_details) |
/// | extensions of the [`Connection`]; a listener adds `0xEA` of the load balancer in front | | yes |
/// | checksum | | with [`checksum`](Self::checksum) |
/// | of a health check | `UNKNOWN` | `LOCAL` |
///
/// Source: `doc/proxy-protocol.txt` of HAProxy. A target must expect the header: one that does not
/// takes it for the beginning of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProxy {
    version: Version,
    checksum: bool,
    tls_details: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and the command `PROXY`, and `LOCAL`.
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
/// The address family and `STREAM`.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;

/// The types of extensions.
mod kind {
    pub(super) const ALPN: u8 = 0x01;
    pub(super) const AUTHORITY: u8 = 0x02;
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const SSL: u8 = 0x20;
    pub(super) const SSL_VERSION: u8 = 0x21;
    pub(super) const SSL_CIPHER: u8 = 0x23;
}

/// In the flags of [`kind::SSL`]: the client has connected over TLS, and has sent a certificate.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;

/// The longest header that is sent. nginx accepts no longer one.
const MAX_HEADER_BYTES: usize = 4096;
/// The type and the length of an extension.
const EXTENSION_HEAD_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;

impl SendProxy {
    /// Sends headers of version 1, as a Classic Load Balancer does.
    #[must_use]
    pub fn v1() -> Self {
        Self { version: Version::One, checksum: false, tls_details: false }
    }

    /// Sends headers of version 2, as a Network Load Balancer does.
    #[must_use]
    pub fn v2() -> Self {
        Self { version: Version::Two, checksum: true, tls_details: true }
    }

    setters! {
        /// Sets whether headers of version 2 have a checksum (CRC32C). Default `true`.
        pub fn checksum(sent: bool) => checksum = sent;
        /// Sets whether headers of version 2 describe the client's TLS: version, cipher suite,
        /// whether a certificate was verified, server name and protocol. Default `true`.
        pub fn tls_details(sent: bool) => tls_details = sent;
    }

    /// Returns the header of a connection.
    #[must_use]
    pub fn header(self, connection: &Connection) -> Vec<u8> {
        let addresses = connection.source().zip(connection.destination());
        match self.version {
            Version::One => line(addresses),
            Version::Two => {
                let mut header = Header::new(PROXY, addresses, self.reserved());
                if self.tls_details {
                    header.describe(connection);
                }
                for (kind, value) in connection.extensions() {
                    header.push(kind, &[value]);
                }
                header.finish(self.checksum)
            }
        }
    }

    /// Returns the header of a connection of the load balancer itself, such as a health check.
    #[must_use]
    pub fn local_header(self) -> Vec<u8> {
        match self.version {
            Version::One => line(None),
            Version::Two => Header::new(LOCAL, None, self.reserved()).finish(self.checksum),
        }
    }

    /// Returns how many bytes of a header are kept for the checksum.
    fn reserved(self) -> usize {
        if self.checksum { EXTENSION_HEAD_BYTES + CHECKSUM_BYTES } else { 0 }
    }
}

/// Returns a header of version 1.
fn line(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = addresses else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let (protocol, from, to) = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => ("TCP4", from, to),
        (from, to) => ("TCP6", IpAddr::V6(v6(from)), IpAddr::V6(v6(to))),
    };
    format!("PROXY {protocol} {from} {to} {} {}\r\n", source.port(), destination.port())
        .into_bytes()
}

fn v6(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// A header of version 2 that is being written.
struct Header {
    bytes: Vec<u8>,
    limit: usize,
}

impl Header {
    fn new(command: u8, addresses: Option<(SocketAddr, SocketAddr)>, reserved: usize) -> Self {
        let mut bytes = SIGNATURE.to_vec();
        bytes.push(command);
        let Some((source, destination)) = addresses else {
            bytes.extend([UNSPECIFIED, 0, 0]);
            return Self { bytes, limit: MAX_HEADER_BYTES - reserved };
        };
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes.extend([TCP_OVER_IPV4, 0, 0]);
                bytes.extend(from.octets());
                bytes.extend(to.octets());
            }
            (from, to) => {
                bytes.extend([TCP_OVER_IPV6, 0, 0]);
                bytes.extend(v6(from).octets());
                bytes.extend(v6(to).octets());
            }
        }
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(destination.port().to_be_bytes());
        Self { bytes, limit: MAX_HEADER_BYTES - reserved }
    }

    /// Adds what is known about the client's TLS.
    fn describe(&mut self, connection: &Connection) {
        if let Some(protocol) = connection.tls().and_then(ClientTls::alpn) {
            self.push(kind::ALPN, &[protocol]);
        }
        if let Some(name) = connection.server_name() {
            self.push(kind::AUTHORITY, &[name.as_bytes()]);
        }
        let Some(tls) = connection.tls() else { return };
        let certificate = match tls.certificate() {
            ClientIdentity::None => 0,
            ClientIdentity::Unverified | ClientIdentity::Verified => CLIENT_CERT_CONN,
        };
        // Zero means that a certificate was presented and verified.
        let verify = u32::from(tls.certificate() != ClientIdentity::Verified).to_be_bytes();
        let flags = [CLIENT_SSL | certificate];
        let version = extension(kind::SSL_VERSION, tls.version().as_bytes());
        let cipher = extension(kind::SSL_CIPHER, tls.cipher_suite().as_bytes());
        self.push(kind::SSL, &[&flags, &verify, &version, &cipher]);
    }

    /// Adds an extension, unless the header would be too long for it.
    fn push(&mut self, kind: u8, parts: &[&[u8]]) {
        let value = parts.concat();
        if self.bytes.len() + EXTENSION_HEAD_BYTES + value.len() <= self.limit {
            self.bytes.extend(extension(kind, &value));
        }
    }

    fn finish(self, has_checksum: bool) -> Vec<u8> {
        let mut bytes = self.bytes;
        if has_checksum {
            bytes.extend(extension(kind::CRC32C, &[0; CHECKSUM_BYTES]));
        }
        // The limit is far below 64 KiB.
        let length = u16::try_from(bytes.len() - SIGNATURE.len() - 4).unwrap_or(u16::MAX);
        bytes[14..16].copy_from_slice(&length.to_be_bytes());
        if has_checksum {
            // That of the header with zeros in the place of the sum.
            let sum = crc32c::crc32c(&bytes).to_be_bytes();
            let at = bytes.len() - CHECKSUM_BYTES;
            bytes[at..].copy_from_slice(&sum);
        }
        bytes
    }
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    // Values are limited by the header's length.
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[kind], &length[..], value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(source: &str, destination: &str) -> Connection {
        let (ours, _) = tokio::io::duplex(16);
        Connection::new(ours, source.parse().unwrap(), destination.parse().unwrap())
    }

    #[test]
    fn lines_of_version_1() {
        let header =
            |from, to| String::from_utf8(SendProxy::v1().header(&connection(from, to))).unwrap();
        assert_eq!(
            header("198.51.100.22:35646", "203.0.113.7:80"),
            "PROXY TCP4 198.51.100.22 203.0.113.7 35646 80\r\n"
        );
        assert_eq!(
            header("[2001:db8::1]:1", "[2001:db8::2]:65535"),
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"
        );
        assert_eq!(
            header("[2001:db8::1]:1", "203.0.113.7:80"),
            "PROXY TCP6 2001:db8::1 ::ffff:203.0.113.7 1 80\r\n"
        );
        assert_eq!(SendProxy::v1().local_header(), b"PROXY UNKNOWN\r\n");
    }

    /// As the specification lays out the bytes.
    #[test]
    fn bytes_of_version_2() {
        let plain = SendProxy::v2().checksum(false);
        let header = plain.header(&connection("192.0.2.1:8080", "198.51.100.2:443"));
        let expected = [
            &SIGNATURE[..],
            &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0x1F, 0x90, 0x01, 0xBB],
        ];
        assert_eq!(header, expected.concat());
        assert_eq!(plain.local_header(), [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat());

        let named = connection("192.0.2.1:8080", "198.51.100.2:443")
            .with_tls(ClientTls::new("TLSv1.3", "C").with_server_name("a.b"))
            .with_extension(0xEA, *b"\x01vpce-1");
        let header = plain.header(&named);
        let ssl = b"\x20\x00\x13\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x01C";
        let rest = [&b"\x02\x00\x03a.b"[..], ssl, b"\xEA\x00\x07\x01vpce-1"].concat();
        assert_eq!(&header[28..], rest);
        assert_eq!(&header[14..16], (12 + rest.len() as u16).to_be_bytes());
    }

    #[test]
    fn the_checksum_is_that_of_the_header_without_it() {
        let mut header = SendProxy::v2().local_header();
        let at = header.len() - 4;
        assert_eq!(header[at - 3..at], [3, 0, 4]);
        let sum = u32::from_be_bytes(header[at..].try_into().unwrap());
        header[at..].fill(0);
        assert_eq!(sum, crc32c::crc32c(&header));
    }

    #[test]
    fn extensions_that_are_too_long_are_left_out() {
        let long = connection("192.0.2.1:1", "192.0.2.2:2")
            .with_extension(0xE0, vec![7; 5000])
            .with_extension(0xEA, *b"\x01vpce-1");
        let header = SendProxy::v2().header(&long);
        assert!(header.len() < 100, "{}", header.len());
        assert!(header.windows(6).any(|bytes| bytes == b"vpce-1"));
    }
}
