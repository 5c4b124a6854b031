//! The ClientHello of TLS that is passed through, compared with what rustls reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rustls::server::Acceptor;
use tower_lb::tcp::parse_client_hello;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse_client_hello(bytes);
    // The bytes may come in any segments: what a part decides holds for the whole.
    for end in (0..bytes.len()).step_by(bytes.len().div_ceil(32).max(1)) {
        let early = parse_client_hello(&bytes[..end]);
        assert!(early == Ok(None) || early == parsed, "{end} bytes: {early:?} and {parsed:?}");
    }
    if let Ok(Some((name, protocols))) = &parsed {
        if let Some(name) = name {
            assert!((1..=255).contains(&name.len()) && !name.ends_with('.'), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        }
        assert!(protocols.iter().map(|protocol| protocol.len() + 1).sum::<usize>() < bytes.len());
        for length in [1, 7, 1000] {
            assert_eq!(parse_client_hello(&in_records_of(bytes, length)), parsed, "{length}");
        }
    }
    // Names that are no host names are left out of the comparison: rustls ignores such a name, and
    // the parser the whole hello.
    if let Some((Some(name), protocols)) = by_rustls(bytes) {
        let Ok(Some((our_name, our_protocols))) = parsed else {
            panic!("rustls reads {name:?} and {protocols:?}: {parsed:?}");
        };
        assert_eq!(our_name.as_deref(), Some(&*name));
        assert_eq!(our_protocols.into_iter().map(Vec::from).collect::<Vec<_>>(), protocols);
    }
});

/// Divides the handshake into other records.
fn in_records_of(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((&[_, _, _, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (fragment, next) = after.split_at(length.min(after.len()));
        message.extend_from_slice(fragment);
        rest = next;
        if let [_, a, b, c, body @ ..] = &message[..] {
            let body_length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if body.len() >= body_length {
                break;
            }
        }
    }
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    message.chunks(length).flat_map(record).collect()
}

/// Returns the name and the protocols that rustls reads; `None` if it needs more or reads no hello.
fn by_rustls(bytes: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let name =
                hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            let protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
            return Some((name, protocols));
        }
        if acceptor.read_tls(&mut rest).ok()? == 0 {
            return None;
        }
    }
}
