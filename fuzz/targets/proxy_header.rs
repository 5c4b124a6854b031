//! PROXY headers, versions 1 and 2, that a listener receives and that a relay sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_lb::{
    listener::{ProxyHeader, parse_proxy_header},
    tcp::{Connection, SendProxy},
};

/// The default of the listener, and the least and the most that it may be set to.
const LIMITS: [usize; 3] = [4096, 107, 65_551];

fuzz_target!(|bytes: &[u8]| {
    for limit in LIMITS {
        let parsed = parse_proxy_header(bytes, limit);
        // The bytes may come in any segments: what a part decides holds for the whole.
        for end in parts(bytes.len()) {
            match parse_proxy_header(&bytes[..end], limit) {
                Ok(None) => {}
                Ok(Some(early)) => assert_eq!(parsed, Ok(Some(early)), "{end} bytes"),
                Err(early) => assert!(parsed.is_err(), "{end} bytes: {early}"),
            }
        }
        if let Ok(Some((header, length))) = parsed {
            assert!(length <= bytes.len().min(limit.max(107)));
            read_all(&header);
            send_again(&header);
        }
    }
});

/// Returns up to 32 ends of parts.
fn parts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(length.div_ceil(32).max(1))
}

/// Reads all that requests can ask for.
fn read_all(header: &ProxyHeader) {
    assert!(matches!(header.version(), 1 | 2));
    assert_eq!(header.source().is_some(), header.destination().is_some());
    assert_eq!(header.alpn(), header.extension(0x01));
    let authority = header.extension(0x02).and_then(|value| std::str::from_utf8(value).ok());
    assert_eq!(header.authority(), authority);
    let _ = (header.unique_id(), header.vpc_endpoint_id());
    if let Some(ssl) = header.ssl() {
        let _ = (ssl.is_tls(), ssl.is_client_verified());
        let _ = (ssl.version(), ssl.common_name(), ssl.cipher());
    }
}

/// A relay that passes the addresses and extensions on sends a header that says the same.
fn send_again(header: &ProxyHeader) {
    let (Some(source), Some(destination)) = (header.source(), header.destination()) else { return };
    let (stream, _) = tokio::io::duplex(1);
    let mut connection = Connection::new(stream, source, destination);
    // What the listener passes on, if it fits into a header.
    let endpoint = header.extension(0xEA).filter(|value| value.len() < 1000);
    if let Some(value) = endpoint {
        connection = connection.with_extension(0xEA, value);
    }
    for send in [SendProxy::v1(), SendProxy::v2(), SendProxy::v2().checksum(false)] {
        let bytes = send.header(&connection);
        let Ok(Some((sent, length))) = parse_proxy_header(&bytes, 4096) else {
            panic!("{send:?} has sent {bytes:?}");
        };
        assert_eq!(length, bytes.len());
        assert_eq!((sent.source(), sent.destination()), (Some(source), Some(destination)));
        if sent.version() == 2 {
            assert_eq!(sent.extension(0xEA), endpoint);
        }
    }
}
