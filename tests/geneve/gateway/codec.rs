use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tower_lb::geneve::{AwsOptions, DecodeError, Header, PacketError, TunnelOption, decode};

use crate::rig::{CLIENT, SERVER, udp};

const OPTIONS: AwsOptions = AwsOptions {
    endpoint_id: 0x0123_4567_89ab_cdef,
    attachment_id: 0xfeed_face_cafe_f00d,
    flow_cookie: 0xdead_beef,
};

/// The header as the RFC's figures lay it out, written by hand.
const HEADER: [u8; 40] = [
    0x08, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, // version 0, 8 words of options, IPv4
    0x01, 0x08, 0x01, 0x02, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, // endpoint
    0x01, 0x08, 0x02, 0x02, 0xfe, 0xed, 0xfa, 0xce, 0xca, 0xfe, 0xf0, 0x0d, // attachment
    0x01, 0x08, 0x03, 0x01, 0xde, 0xad, 0xbe, 0xef, // cookie
];

fn datagram(header: &[u8]) -> Bytes {
    [header, &udp(CLIENT, SERVER, b"hello")].concat().into()
}

/// Returns why a header is refused after a change.
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> DecodeError {
    let mut bytes = HEADER.to_vec();
    change(&mut bytes);
    decode(datagram(&bytes)).map(drop).unwrap_err()
}

#[test]
fn the_header_is_as_aws_writes_it() {
    assert_eq!(OPTIONS.encode(0x0800), HEADER);
    assert_eq!(OPTIONS.encode(0x86dd)[2..4], [0x86, 0xdd]);
    // The inner packet does not begin where the header ends, but after UDP's and IP's.
    assert_eq!(AwsOptions::OVERHEAD, HEADER.len() + 8 + 20);
}

#[test]
fn a_datagram_is_split_without_copies() {
    let bytes = datagram(&HEADER);
    let (header, packet) = decode(bytes.clone()).unwrap();
    assert_eq!(packet.options(), Some(&OPTIONS));
    assert_eq!(packet.as_bytes().as_ptr(), bytes[40..].as_ptr());
    assert_eq!(header.as_bytes().as_ptr(), bytes.as_ptr());
    assert_eq!(
        (packet.to_string(), packet.payload()),
        (format!("UDP {CLIENT} > {SERVER}"), &b"hello"[..])
    );
}

#[test]
fn each_fault_has_its_reason() {
    let option = |kind, words, data: &[u8]| [&[0x01, 0x08, kind, words], data].concat();
    let faults: [(DecodeError, DecodeError); 12] = [
        (decode(Bytes::new()).map(drop).unwrap_err(), DecodeError::Truncated),
        (decode(Bytes::from_static(&HEADER[..39])).map(drop).unwrap_err(), DecodeError::Truncated),
        (refused(|header| header[0] |= 0x40), DecodeError::Version(1)),
        (refused(|header| header[1] |= 0x80), DecodeError::Control),
        (refused(|header| header[2] = 0x65), DecodeError::Protocol(0x6500)),
        (
            refused(|header| header[2..4].copy_from_slice(&[0x86, 0xdd])),
            DecodeError::Protocol(0x86dd),
        ),
        (refused(|header| header[35] = 2), DecodeError::OptionOverrun),
        (refused(|header| header[34] = 4), DecodeError::MissingOption),
        (refused(|header| header[34] = 1), DecodeError::InvalidOption),
        (
            refused(|header| {
                header[0] += 2;
                header.extend(option(3, 1, &[0; 4]));
            }),
            DecodeError::InvalidOption,
        ),
        (
            // Critical whether or not the header says that it has such an option.
            refused(|header| {
                header[0] += 1;
                header.extend(option(0x84, 0, &[]));
            }),
            DecodeError::UnknownCriticalOption { class: 0x0108, kind: 0x84 },
        ),
        (
            decode(HEADER.to_vec().into()).map(drop).unwrap_err(),
            DecodeError::Packet(PacketError::Version(0)),
        ),
    ];
    for (fault, expected) in faults {
        assert_eq!(fault, expected);
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn reserved_bits_and_unknown_options_are_ignored_and_kept() {
    let mut bytes = HEADER.to_vec();
    bytes[0] += 1;
    bytes[1] = 0x3f;
    bytes[7] = 0xff;
    bytes[11] |= 0xe0;
    bytes.extend([0x01, 0x08, 0x04, 0xe0]);
    let (header, packet) = decode(datagram(&bytes)).unwrap();
    assert_eq!(packet.options(), Some(&OPTIONS));
    assert_eq!(header.as_bytes(), &bytes);
    assert_eq!(header.options().count(), 4);
}

proptest! {
    #[test]
    fn headers_survive_the_wire(
        protocol: u16,
        network in 0_u32..1 << 24,
        options in vec((any::<u16>(), any::<u8>(), vec(any::<[u8; 4]>(), 0..8)), 0..6),
        payload in vec(any::<u8>(), 0..64),
    ) {
        let data: Vec<Vec<u8>> = options.iter().map(|(_, _, data)| data.concat()).collect();
        let options: Vec<TunnelOption<'_>> = options
            .iter()
            .zip(&data)
            .map(|((class, kind, _), data)| TunnelOption { class: *class, kind: *kind, data })
            .collect();
        let header = Header::new(protocol, network, options.iter().copied()).unwrap();
        let bytes = [header.as_bytes(), &payload[..]].concat();
        let (read, rest) = Header::split(bytes.into()).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(&rest[..], &payload[..]);
        prop_assert_eq!((read.protocol(), read.network()), (protocol, network));
        prop_assert_eq!(read.options().collect::<Vec<_>>(), options);
        prop_assert!(!read.is_control());
    }

    #[test]
    fn aws_options_survive_the_wire(endpoint_id: u64, attachment_id: u64, flow_cookie: u32) {
        let options = AwsOptions { endpoint_id, attachment_id, flow_cookie };
        let (_, packet) = decode(datagram(&options.encode(0x0800))).unwrap();
        prop_assert_eq!(packet.options(), Some(&options));
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(bytes.into());
    }

    /// Most random bytes are refused at once. Those that are nearly right get further.
    #[test]
    fn damaged_datagrams_do_no_harm(
        changes in vec((0_usize..80, any::<u8>()), 1..4),
        length in 0_usize..80,
    ) {
        let mut bytes = datagram(&HEADER).to_vec();
        for (index, value) in changes {
            let length = bytes.len();
            bytes[index % length] = value;
        }
        let _ = decode(bytes.clone().into());
        bytes.truncate(length);
        if let Ok((header, packet)) = decode(bytes.clone().into()) {
            prop_assert_eq!([header.as_bytes(), &packet.as_bytes()[..]].concat(), bytes);
        }
    }
}
