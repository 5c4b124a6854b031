use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};

use super::header::{Addresses, ProxyHeader, kind};
use crate::escape::Escaped;

/// What the beginning of a connection is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A header, and its length in bytes.
    Header(ProxyHeader, usize),
    /// The beginning of a header.
    Incomplete,
}

/// Why the beginning of a connection is not a valid header.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::listener) enum ParseError {
    /// It begins with something else.
    Missing,
    /// It is longer than this limit.
    TooLong(usize),
    /// It is malformed.
    Malformed(String),
    /// Its checksum is wrong.
    Checksum,
    /// Its addresses are of Unix sockets.
    UnixAddresses,
    /// It describes datagrams.
    Datagrams,
}

const V1_PREFIX: &[u8] = b"PROXY ";
/// The specification's limit, with CR and LF.
const V1_LONGEST: usize = 107;
const V2_PREFIX: &[u8] = v2::PROTOCOL_PREFIX;
/// The prefix, version and command, family and transport, and the length of the rest.
const V2_FIXED: usize = 16;

/// Reads the header at the beginning of `bytes`, of at most `limit` bytes.
pub(super) fn parse(bytes: &[u8], limit: usize) -> Result<Parsed, ParseError> {
    let begins = |prefix: &[u8]| {
        let length = bytes.len().min(prefix.len());
        bytes[..length] == prefix[..length]
    };
    // The prefixes differ in the first byte.
    if begins(V2_PREFIX) {
        parse_v2(bytes, limit)
    } else if begins(V1_PREFIX) {
        parse_v1(bytes)
    } else {
        Err(ParseError::Missing)
    }
}

/// For the fuzz targets: reads the header at the beginning of `bytes`, and returns it with its
/// length; `None` if `bytes` are the beginning of one.
#[cfg(tower_lb_fuzz)]
pub fn parse_proxy_header(
    bytes: &[u8],
    limit: usize,
) -> Result<Option<(ProxyHeader, usize)>, String> {
    match parse(bytes, limit).map_err(|error| error.to_string())? {
        Parsed::Header(header, length) => Ok(Some((header, length))),
        Parsed::Incomplete => Ok(None),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let longest = &bytes[..bytes.len().min(V1_LONGEST)];
    let Some(end) = longest.windows(2).position(|two| two == b"\r\n") else {
        let is_full = longest.len() == V1_LONGEST;
        return if is_full { Err(ParseError::TooLong(V1_LONGEST)) } else { Ok(Parsed::Incomplete) };
    };
    let length = end + 2;
    let header = v1::Header::try_from(&bytes[..length]).map_err(malformed)?;
    let addresses = match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some(addresses(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
        v1::Addresses::Tcp6(ip) => Some(addresses(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
    };
    Ok(Parsed::Header(ProxyHeader::new(1, addresses, &[]), length))
}

fn parse_v2(bytes: &[u8], limit: usize) -> Result<Parsed, ParseError> {
    let Some(&[.., high, low]) = bytes.first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Incomplete);
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > limit {
        return Err(ParseError::TooLong(limit));
    }
    let Some(bytes) = bytes.get(..length) else { return Ok(Parsed::Incomplete) };
    let header = v2::Header::try_from(bytes).map_err(malformed)?;
    // The checksum covers a `LOCAL` header too.
    let extensions = match header.addresses {
        // The length of unspecified addresses is unknown, so what follows has no meaning.
        v2::Addresses::Unspecified => &[],
        _ => header.tlv_bytes(),
    };
    verify(bytes, extensions)?;
    if header.command == v2::Command::Local {
        return Ok(Parsed::Header(ProxyHeader::new(2, None, &[]), length));
    }
    if header.protocol == v2::Protocol::Datagram {
        return Err(ParseError::Datagrams);
    }
    let addresses = match header.addresses {
        v2::Addresses::Unspecified => None,
        v2::Addresses::Unix(_) => return Err(ParseError::UnixAddresses),
        v2::Addresses::IPv4(ip) => Some(addresses(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
        v2::Addresses::IPv6(ip) => Some(addresses(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
    };
    Ok(Parsed::Header(ProxyHeader::new(2, addresses, extensions), length))
}

fn addresses(
    (source, source_port): (impl Into<IpAddr>, u16),
    (destination, destination_port): (impl Into<IpAddr>, u16),
) -> Addresses {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    Addresses {
        source: address(source.into(), source_port),
        destination: address(destination.into(), destination_port),
    }
}

/// Checks the form of the extensions, and the checksum if there is one.
fn verify(header: &[u8], extensions: &[u8]) -> Result<(), ParseError> {
    let mut checksum = None;
    let mut rest = extensions;
    while !rest.is_empty() {
        let (&[kind, high, low], after) =
            rest.split_first_chunk().ok_or_else(|| malformed("a truncated extension"))?;
        let value;
        (value, rest) = after
            .split_at_checked(u16::from_be_bytes([high, low]).into())
            .ok_or_else(|| malformed("an extension that is longer than the header"))?;
        if kind == kind::CRC32C {
            let sum: [u8; 4] =
                value.try_into().map_err(|_| malformed("a checksum that has not 4 bytes"))?;
            // Where the checksum stands in the header.
            let at = header.len() - rest.len() - sum.len();
            if checksum.replace((at, sum)).is_some() {
                return Err(malformed("two checksums"));
            }
        }
    }
    let Some((at, sum)) = checksum else { return Ok(()) };
    // The sum is that of the header with zeros in the place of the sum.
    let mut computed = crc32c::crc32c(&header[..at]);
    computed = crc32c::crc32c_append(computed, &[0; 4]);
    computed = crc32c::crc32c_append(computed, &header[at + sum.len()..]);
    if computed == u32::from_be_bytes(sum) { Ok(()) } else { Err(ParseError::Checksum) }
}

fn malformed(what: impl fmt::Display) -> ParseError {
    ParseError::Malformed(what.to_string())
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the connection does not begin with a PROXY header"),
            Self::TooLong(limit) => write!(f, "the PROXY header is longer than {limit} bytes"),
            Self::Malformed(what) => write!(f, "the PROXY header is malformed: {}", Escaped(what)),
            Self::Checksum => f.write_str("the checksum of the PROXY header is wrong"),
            Self::UnixAddresses => f.write_str("the PROXY header has addresses of Unix sockets"),
            Self::Datagrams => f.write_str("the PROXY header describes datagrams"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 4096;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = V2_PREFIX.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], value].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x1F, 0x90, 0x01, 0xBB];

    fn header(bytes: &[u8]) -> ProxyHeader {
        match parse(bytes, LIMIT) {
            Ok(Parsed::Header(header, length)) => {
                assert_eq!(length, bytes.len());
                header
            }
            other => panic!("{other:?}"),
        }
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_both_versions() {
        let one = header(b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n");
        assert_eq!((one.version(), one.source()), (1, address("192.0.2.1:8080")));
        assert_eq!(one.destination(), address("198.51.100.2:443"));
        let one = header(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        assert_eq!(one.source(), address("[2001:db8::1]:1"));
        assert_eq!(header(b"PROXY UNKNOWN\r\n").source(), None);
        assert_eq!(header(b"PROXY UNKNOWN ff:: ff:: 1 2\r\n").source(), None);

        let two = header(&v2(1, 0x11, &IPV4));
        assert_eq!((two.version(), two.source()), (2, address("192.0.2.1:8080")));
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xFF, 0xFF, 10, 0, 0, 1]);
        assert_eq!(header(&v2(1, 0x21, &mapped)).source(), address("10.0.0.1:0"));
        assert_eq!(header(&v2(0, 0x11, &IPV4)).source(), None, "LOCAL");
        assert_eq!(header(&v2(0, 0, &[])).source(), None, "LOCAL without addresses");
        assert_eq!(header(&v2(1, 0, &[1, 2, 3])).source(), None, "unspecified");
    }

    #[test]
    fn extensions_are_found() {
        let ssl = [
            &[0x01 | 0x02, 0, 0, 0, 0][..],
            &extension(kind::SSL_VERSION, b"TLSv1.3"),
            &extension(kind::SSL_CN, b"client"),
            &extension(kind::SSL_CIPHER, b"TLS_AES_128_GCM_SHA256"),
        ];
        let rest = [
            &IPV4[..],
            &extension(kind::ALPN, b"h2"),
            &extension(0x04, &[0; 3]),
            &extension(kind::AUTHORITY, b"shop.example"),
            &extension(kind::UNIQUE_ID, b"id"),
            &extension(kind::SSL, &ssl.concat()),
            &extension(kind::AWS, b"\x01vpce-0123"),
        ];
        let header = header(&v2(1, 0x11, &rest.concat()));
        assert_eq!(header.alpn(), Some(&b"h2"[..]));
        assert_eq!(header.authority(), Some("shop.example"));
        assert_eq!(header.unique_id(), Some(&b"id"[..]));
        assert_eq!(header.vpc_endpoint_id(), Some("vpce-0123"));
        let ssl = header.ssl().unwrap();
        assert!(ssl.is_tls() && ssl.is_client_verified());
        assert_eq!((ssl.version(), ssl.common_name()), (Some("TLSv1.3"), Some("client")));
        assert_eq!(ssl.cipher(), Some("TLS_AES_128_GCM_SHA256"));
    }

    #[test]
    fn a_checksum_is_verified_wherever_it_is() {
        let before = extension(kind::UNIQUE_ID, b"id");
        let after = extension(kind::AUTHORITY, b"a");
        let with = |sum: [u8; 4]| {
            let rest = [&IPV4[..], &before, &extension(kind::CRC32C, &sum), &after];
            v2(1, 0x11, &rest.concat())
        };
        let right = with(crc32c::crc32c(&with([0; 4])).to_be_bytes());
        assert_eq!(header(&right).authority(), Some("a"));
        // Another type makes it another extension.
        let kind = V2_FIXED + IPV4.len() + before.len();
        for at in (0..right.len()).filter(|at| *at != kind) {
            let mut wrong = right.clone();
            wrong[at] ^= 0x01;
            let parsed = parse(&wrong, LIMIT);
            assert!(!matches!(parsed, Ok(Parsed::Header(..))), "byte {at}: {parsed:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused_early() {
        use ParseError::{Datagrams, Malformed, Missing, TooLong, UnixAddresses};
        assert_eq!(parse(b"GET / HTTP/1.1\r\n", LIMIT), Err(Missing));
        assert_eq!(parse(b"G", LIMIT), Err(Missing));
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n", LIMIT), Err(Missing));
        assert_eq!(parse(b"\r\n\r\n\0\r\nQUIP", LIMIT), Err(Missing));
        assert_eq!(parse(&[&b"PROXY "[..], &[b'1'; 101]].concat(), LIMIT), Err(TooLong(107)));
        // The rest has not come yet.
        let long = [V2_PREFIX, &[0x21, 0x11, 0x10, 0x00]].concat();
        assert_eq!(parse(&long, LIMIT), Err(TooLong(LIMIT)));
        assert_eq!(parse(&v2(1, 0x31, &[0; 216]), LIMIT), Err(UnixAddresses));
        assert_eq!(parse(&v2(1, 0x12, &IPV4), LIMIT), Err(Datagrams));
        for malformed in [
            v2(1, 0x11, &IPV4[..11]),
            v2(2, 0x11, &IPV4),
            v2(1, 0x11, &[&IPV4[..], &[1, 0]].concat()),
            v2(1, 0x11, &[&IPV4[..], &[1, 0, 9, 0]].concat()),
            v2(1, 0x11, &[&IPV4[..], &extension(kind::CRC32C, &[0; 3])].concat()),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 65536\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 198.51.100.2 1 2\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1\n198.51.100.2 1 2\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n".to_vec(),
        ] {
            let parsed = parse(&malformed, LIMIT);
            assert!(
                matches!(parsed, Err(Malformed(_))),
                "{}: {parsed:?}",
                malformed.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(
            prefix in 0..3usize,
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let prefix = [V2_PREFIX, V1_PREFIX, b""][prefix];
            let _ = parse(&[prefix, &bytes].concat(), LIMIT);
        }

        #[test]
        fn the_parts_of_a_header_are_its_beginning(
            authority in prop::collection::vec(any::<u8>(), 0..100),
            following in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let rest = [&IPV4[..], &extension(kind::AUTHORITY, &authority)].concat();
            for header in [v2(1, 0x11, &rest), b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n".to_vec()] {
                for length in 0..header.len() {
                    prop_assert_eq!(parse(&header[..length], LIMIT), Ok(Parsed::Incomplete));
                }
                let parsed = parse(&[&header[..], &following].concat(), LIMIT);
                let whole = matches!(parsed, Ok(Parsed::Header(_, length)) if length == header.len());
                prop_assert!(whole);
            }
        }
    }
}
