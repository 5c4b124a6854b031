//! Queries of the health check of DNS servers, and which datagrams are replies to a query.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_lb::udp::{DatagramCheck, dns_query, dns_response};

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (name, one, other) = input;
    let (is_response, is_useful) = dns_response(one, other);
    assert!(is_response || !is_useful);
    if is_response {
        assert!(other.len() >= 12 && one[..2] == other[..2] && other[2] & 0x80 != 0);
        // The part after the header plays no role.
        assert_eq!(dns_response(one, &other[..12]), (true, is_useful));
    }

    assert_eq!(DatagramCheck::dns(name).is_ok(), dns_query(name).is_ok());
    let Ok(query) = dns_query(name) else { return };
    assert!(query.len() <= 12 + 255 + 4);
    assert_eq!(name_of(&query[12..]), name.strip_suffix('.').unwrap_or(name).as_bytes());
    assert_eq!(dns_response(&query, &query), (false, false), "a query is no response");
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    assert_eq!(dns_response(&query, &reply), (true, true));
});

/// Reads a name and the type and class after it, as a server does.
fn name_of(mut bytes: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    while bytes[0] != 0 {
        let length = usize::from(bytes[0]);
        assert!(length <= 63);
        labels.push(&bytes[1..=length]);
        bytes = &bytes[length + 1..];
    }
    assert_eq!(bytes, [0, 0, 1, 0, 1]);
    labels.join(&b'.')
}
