//! The server id in QUIC packets, and in labels of endpoints.

#![no_main]

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use tower_lb::udp::{QuicLb, ServerId};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    config_id: u8,
    server_id_bytes: u8,
    nonce_bytes: u8,
    text: &'a str,
    nonce: &'a [u8],
    datagram: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let Input { config_id, server_id_bytes, nonce_bytes, text, nonce, datagram } = input;
    if let Ok(id) = text.parse::<ServerId>() {
        assert_eq!(id.to_string().parse::<ServerId>(), Ok(id));
        assert_eq!(ServerId::new(id.as_bytes()), Some(id));
    }
    let layout = QuicLb::new(config_id % 7, usize::from(server_id_bytes % 15) + 1);
    let layout = layout.expect("the numbers are within their ranges");
    let layout = layout.nonce_bytes(usize::from(nonce_bytes)).unwrap_or(layout);
    let Some(id) = layout.server_id(datagram) else { return };

    assert_eq!(id.as_bytes().len(), usize::from(server_id_bytes % 15) + 1);
    assert!(datagram.windows(id.as_bytes().len()).any(|part| part == id.as_bytes()));
    // What follows the connection id plays no role.
    assert_eq!(layout.server_id(&[datagram, nonce].concat()), Some(id));
    let Some(made) = layout.connection_id(id, nonce) else { return };
    assert!(made.len() <= 20 && made.ends_with(nonce));
    assert_eq!(layout.server_id_in(&made), Some(id));
    assert_eq!(layout.server_id(&[&[0x40], &made[..], datagram].concat()), Some(id));
    let handshake = [&[0xE0, 0, 0, 0, 1, made.len() as u8], &made[..], datagram].concat();
    assert_eq!(layout.server_id(&handshake), Some(id));
});
