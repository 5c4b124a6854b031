//! Packets within GENEVE: IPv4 and IPv6, TCP, UDP, fragments, and the resets that answer them.

#![no_main]

use arbitrary::Unstructured;
use bytes::Bytes;
use etherparse::PacketBuilder;
use libfuzzer_sys::fuzz_target;
use tower_lb::geneve::{Packet, reset_of};

const TCP: u8 = 6;
const UDP: u8 = 17;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packet) = Packet::parse(Bytes::copy_from_slice(bytes)) {
        assert_eq!(packet.as_bytes(), bytes);
        assert_eq!(packet.source().is_ipv4(), packet.destination().is_ipv4());
        assert_eq!(packet.source_port().is_some(), packet.destination_port().is_some());
        assert!(packet.payload().len() <= bytes.len() - 20);
        let _ = (packet.to_string(), format!("{packet:?}"));
        ends_where_its_header_says(bytes, &packet);
        answer(&packet);
    }
    let _ = packet_of_parts(&mut Unstructured::new(bytes));
});

/// A part of the packet is no other packet, and what follows the packet does not belong to it.
fn ends_where_its_header_says(bytes: &[u8], packet: &Packet) {
    let facts = |packet: &Packet| {
        let ends = [(packet.source(), packet.source_port())];
        let ends = (ends, packet.destination(), packet.destination_port());
        (ends, packet.protocol(), packet.is_fragment())
    };
    // An IPv6 packet without a length takes all that there is.
    let has_length = bytes[0] >> 4 == 4 || bytes[4..6] != [0, 0];
    for end in (0..bytes.len()).step_by(bytes.len().div_ceil(32).max(1)) {
        let Ok(part) = Packet::parse(Bytes::copy_from_slice(&bytes[..end])) else { continue };
        assert_eq!(facts(&part), facts(packet), "{end} bytes");
        assert!(!has_length || part.payload() == packet.payload(), "{end} bytes");
    }
    let longer = Packet::parse([bytes, &[0; 9]].concat().into());
    if has_length {
        let longer = longer.expect("the packet itself is valid");
        assert_eq!((facts(&longer), longer.payload()), (facts(packet), packet.payload()));
    }
}

/// A reset goes back, has no data, and is not answered itself.
fn answer(packet: &Packet) {
    let Some(reset) = reset_of(packet) else { return };
    assert_eq!(packet.protocol(), TCP);
    let reset = Packet::parse(reset).expect("it was just written");
    assert_eq!(reset.protocol(), TCP);
    assert_eq!(
        (reset.source(), reset.source_port()),
        (packet.destination(), packet.destination_port())
    );
    assert_eq!(
        (reset.destination(), reset.destination_port()),
        (packet.source(), packet.source_port())
    );
    assert!(reset.payload().is_empty() && !reset.is_fragment());
    assert_eq!(reset_of(&reset), None);
}

/// A packet of these parts is read as it was written.
fn packet_of_parts(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (is_v4, is_tcp, ports): (bool, bool, (u16, u16)) = input.arbitrary()?;
    let (source, destination): ([u8; 16], [u8; 16]) = input.arbitrary()?;
    let payload: &[u8] = input.arbitrary()?;
    let first = |address: [u8; 16]| [address[0], address[1], address[2], address[3]];
    let ip = match is_v4 {
        true => PacketBuilder::ipv4(first(source), first(destination), 9),
        false => PacketBuilder::ipv6(source, destination, 9),
    };
    let mut bytes = Vec::new();
    let written = match is_tcp {
        true => ip.tcp(ports.0, ports.1, 1, 1).syn().write(&mut bytes, payload),
        false => ip.udp(ports.0, ports.1).write(&mut bytes, payload),
    };
    if written.is_err() {
        return Ok(());
    }
    let packet = Packet::parse(bytes.into()).expect("it was just written");
    assert_eq!(packet.protocol(), if is_tcp { TCP } else { UDP });
    assert_eq!((packet.source_port(), packet.destination_port()), (Some(ports.0), Some(ports.1)));
    assert_eq!((packet.source().is_ipv4(), packet.payload()), (is_v4, payload));
    answer(&packet);
    Ok(())
}
