//! Fragments follow the first one, which has the ports.

use bytes::Bytes;
use etherparse::{IpFragOffset, Ipv4Header, Ipv4HeaderSlice};
use tower_lb::geneve::{Gateway, Stickiness};

use crate::rig::{CLIENT, Rig, SERVER, data, echo, syn, udp};

/// Splits a packet into fragments whose payloads have up to 64 bytes.
fn fragments(packet: &[u8], id: u16) -> Vec<Bytes> {
    let header = Ipv4HeaderSlice::from_slice(packet).unwrap().to_header();
    let payload = &packet[header.header_len()..];
    let count = payload.len().div_ceil(64);
    payload
        .chunks(64)
        .enumerate()
        .map(|(index, chunk)| {
            let mut header: Ipv4Header = header.clone();
            header.identification = id;
            header.dont_fragment = false;
            header.more_fragments = index + 1 < count;
            header.fragment_offset = IpFragOffset::try_new(index as u16 * 8).unwrap();
            header.set_payload_len(chunk.len()).unwrap();
            let mut bytes = Vec::new();
            header.write(&mut bytes).unwrap();
            bytes.extend(chunk);
            bytes.into()
        })
        .collect()
}

#[tokio::test]
async fn fragments_follow_the_first_one() {
    let mut rig = Rig::with(4).await;
    for port in 1..=10 {
        let client = format!("10.0.0.1:{port}");
        let whole = udp(&client, SERVER, &[7; 250]);
        let (number, _) = rig.pass(udp(&client, SERVER, b"short")).await;
        for fragment in fragments(&whole, port) {
            let (of_fragment, passed) = rig.pass(fragment.clone()).await;
            assert_eq!((of_fragment, passed), (number, fragment));
        }
        // In the other direction too, also with the same number.
        for fragment in fragments(&udp(SERVER, &client, &[8; 250]), port) {
            assert_eq!(rig.pass(fragment).await.0, number);
        }
    }
    let status = rig.counted(|status| status.packets_passed == 110).await;
    assert_eq!((status.flows, status.dropped.total()), (10, 0));
}

#[tokio::test]
async fn a_fragment_without_its_first_is_dropped() {
    let rig = Rig::with(1).await;
    let fragments = fragments(&udp(CLIENT, SERVER, &[7; 250]), 1);
    rig.enter(fragments[1].clone());
    rig.counted(|status| status.dropped.fragment_without_first == 1).await;
    rig.deliver(fragments[0].clone()).await;
    rig.deliver(fragments[1].clone()).await;
}

/// Without ports, each fragment says which flow it belongs to.
#[tokio::test]
async fn fragments_of_other_protocols_follow_their_addresses() {
    let mut rig = Rig::with(4).await;
    for host in 1..=10 {
        let whole = echo(&format!("10.0.0.{host}:0"), SERVER, &[7; 250]);
        let (number, _) = rig.pass(whole.clone()).await;
        for fragment in fragments(&whole, 1).into_iter().rev() {
            assert_eq!(rig.pass(fragment).await.0, number);
        }
    }
    assert_eq!(rig.monitor.status().flows, 10);
}

/// The number of a packet is that of its protocol.
#[tokio::test]
async fn protocols_may_use_the_same_number() {
    let rig = Rig::with(1).await;
    let cookie = async |packet: Bytes| {
        let (_, delivered) = rig.deliver(packet).await;
        delivered.packet.options().unwrap().flow_cookie
    };
    let connection = cookie(syn(CLIENT, SERVER).into()).await;
    let datagrams = fragments(&udp(CLIENT, SERVER, &[7; 250]), 1);
    let segments = fragments(&data(CLIENT, SERVER, &[7; 250]), 1);
    assert_eq!(cookie(segments[0].clone()).await, connection);
    let of_datagrams = cookie(datagrams[0].clone()).await;
    assert_ne!(of_datagrams, connection);
    assert_eq!(cookie(segments[1].clone()).await, connection);
    assert_eq!(cookie(datagrams[1].clone()).await, of_datagrams);
}

/// Protocol and addresses are in each fragment.
#[tokio::test]
async fn three_tuples_need_no_first_fragment() {
    for stickiness in [Stickiness::ThreeTuple, Stickiness::TwoTuple] {
        let mut rig = Rig::start(Gateway::builder().stickiness(stickiness), 3).await;
        let (number, _) = rig.pass(udp(CLIENT, SERVER, b"short")).await;
        for fragment in fragments(&udp(CLIENT, SERVER, &[7; 250]), 1).into_iter().rev() {
            assert_eq!(rig.pass(fragment).await.0, number);
        }
    }
}

/// A datagram to the gateway's socket must not decide which flow a fragment belongs to.
#[tokio::test]
async fn what_comes_back_teaches_nothing() {
    let mut rig = Rig::with(1).await;
    let [ours, theirs] =
        [CLIENT, "10.0.0.1:9"].map(|client| fragments(&udp(client, SERVER, &[7; 250]), 1));
    let (_, first) = rig.deliver(ours[0].clone()).await;
    rig.appliances[0].answer(&first, &theirs[0]).await;
    rig.counted(|status| status.dropped.unknown_flow == 1).await;
    assert_eq!(rig.pass(ours[1].clone()).await.1, ours[1]);
    // Nor may it open a place for fragments of its own.
    let other = fragments(&udp(CLIENT, SERVER, &[7; 250]), 2);
    rig.appliances[0].answer(&first, &other[0]).await;
    rig.leave().await;
    rig.enter(other[1].clone());
    rig.counted(|status| status.dropped.fragment_without_first == 1).await;
}

/// The fragments of one source do not displace those of another one.
#[tokio::test]
async fn remembered_fragments_are_bounded() {
    let rig = Rig::with(1).await;
    let ours = fragments(&udp(CLIENT, SERVER, &[7; 250]), 1);
    rig.deliver(ours[0].clone()).await;
    for id in 0..6000 {
        rig.deliver(fragments(&udp("10.6.6.6:1", SERVER, &[6; 250]), id)[0].clone()).await;
    }
    rig.deliver(ours[1].clone()).await;
}
