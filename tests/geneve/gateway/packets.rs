use bytes::Bytes;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
    Ipv6RawExtHeader,
};
use proptest::{collection::vec, prelude::*};
use tower_lb::geneve::{Packet, PacketError};

use crate::rig::{CLIENT, SERVER, data, ping, syn, udp};

fn parse(bytes: &[u8]) -> Result<Packet, PacketError> {
    Packet::parse(Bytes::copy_from_slice(bytes))
}

#[test]
fn packets_show_their_ends() {
    let six = udp("[2001:db8::1]:5000", "[2001:db8::2]:53", b"query");
    let packets = [
        (syn(CLIENT, SERVER), "TCP 10.0.0.1:40000 > 10.0.9.9:443", &b""[..]),
        (data(CLIENT, SERVER, b"GET"), "TCP 10.0.0.1:40000 > 10.0.9.9:443", b"GET"),
        (six, "UDP [2001:db8::1]:5000 > [2001:db8::2]:53", b"query"),
    ];
    for (bytes, text, payload) in packets {
        let packet = parse(&bytes).unwrap();
        assert_eq!((packet.to_string().as_str(), packet.payload()), (text, payload));
        assert!(!packet.is_fragment() && packet.options().is_none());
    }
    let ping = parse(&ping(CLIENT, SERVER)).unwrap();
    assert_eq!((ping.protocol(), ping.source_port(), ping.destination_port()), (1, None, None));
    assert_eq!(ping.to_string(), "ICMP 10.0.0.1 > 10.0.9.9");
}

#[test]
fn each_fault_has_its_reason() {
    let whole = data(CLIENT, SERVER, b"GET");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        parse(&bytes).map(drop).unwrap_err()
    };
    assert_eq!(parse(&[]).map(drop), Err(PacketError::Version(0)));
    assert_eq!(changed(&|bytes| bytes[0] = 0x55), PacketError::Version(5));
    assert_eq!(changed(&|bytes| bytes[0] = 0x44), PacketError::IpHeader);
    assert_eq!(changed(&|bytes| bytes.truncate(30)), PacketError::Truncated);
    // The TCP header claims 60 bytes.
    assert_eq!(changed(&|bytes| bytes[32] = 0xf0), PacketError::TransportHeader);
    // A segment that ends within its header.
    let short = changed(&|bytes| {
        bytes.truncate(30);
        bytes[3] = 30;
    });
    assert_eq!(short, PacketError::TransportHeader);
}

/// Ports come after the extension headers, and fragments after the first have none.
#[test]
fn extension_headers_are_passed_over() {
    let (source, destination) = ("2001:db8::1", "2001:db8::2");
    let whole = udp(&format!("[{source}]:5000"), &format!("[{destination}]:53"), b"query");
    let fragment = |offset, more| {
        let extensions = Ipv6Extensions {
            hop_by_hop_options: Some(Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[0; 6]).unwrap()),
            fragment: Some(Ipv6FragmentHeader::new(
                IpNumber::UDP,
                IpFragOffset::try_new(offset).unwrap(),
                more,
                7,
            )),
            ..Ipv6Extensions::default()
        };
        let header = Ipv6Header {
            source: source.parse::<std::net::Ipv6Addr>().unwrap().octets(),
            destination: destination.parse::<std::net::Ipv6Addr>().unwrap().octets(),
            ..Ipv6Header::default()
        };
        let mut headers = IpHeaders::Ipv6(header, extensions);
        headers.set_next_headers(IpNumber::UDP);
        headers.set_payload_len(whole.len() - 40).unwrap();
        let mut bytes = Vec::new();
        headers.write(&mut bytes).unwrap();
        bytes.extend(&whole[40..]);
        parse(&bytes).unwrap()
    };
    let ends = |packet: &Packet| (packet.protocol(), packet.source_port(), packet.is_fragment());
    assert_eq!(ends(&fragment(0, false)), (17, Some(5000), false));
    assert_eq!(fragment(0, false).payload(), b"query");
    assert_eq!(ends(&fragment(0, true)), (17, Some(5000), true));
    assert_eq!(ends(&fragment(8, false)), (17, None, true));
}

/// An Ethernet frame is padded to 60 bytes, and the padding may come with the packet.
#[test]
fn padding_is_no_payload() {
    let six = ("[2001:db8::1]:5000", "[2001:db8::2]:53");
    for (source, destination) in [(CLIENT, SERVER), six] {
        let mut bytes = udp(source, destination, b"1");
        bytes.extend([0; 17]);
        assert_eq!(parse(&bytes).unwrap().payload(), b"1");
    }
}

/// A first fragment without ports could pass as a packet of another flow.
#[test]
fn a_first_fragment_has_its_ports() {
    let mut header = Ipv4Header::new(2, 64, IpNumber::TCP, [10, 0, 0, 1], [10, 0, 9, 9]).unwrap();
    header.more_fragments = true;
    header.dont_fragment = false;
    let mut bytes = Vec::new();
    header.write(&mut bytes).unwrap();
    bytes.extend([0x12, 0x34]);
    assert_eq!(parse(&bytes).map(drop), Err(PacketError::TransportHeader));
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(mut bytes in vec(any::<u8>(), 0..200), version in 4_u8..7) {
        let _ = parse(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | 5;
        }
        if let Ok(packet) = parse(&bytes) {
            let _ = (packet.to_string(), packet.payload().len());
        }
    }

    #[test]
    fn damaged_packets_do_no_harm(
        changes in vec((any::<usize>(), any::<u8>()), 1..4),
        length: usize,
        which in 0_usize..3,
    ) {
        let mut bytes = match which {
            0 => data(CLIENT, SERVER, b"GET"),
            1 => udp("[2001:db8::1]:5000", "[2001:db8::2]:53", b"query"),
            _ => ping(CLIENT, SERVER),
        };
        for (index, value) in changes {
            let length = bytes.len();
            bytes[index % length] = value;
        }
        bytes.truncate(length % (2 * bytes.len()));
        if let Ok(packet) = parse(&bytes) {
            prop_assert!(packet.payload().len() <= bytes.len());
        }
    }
}
