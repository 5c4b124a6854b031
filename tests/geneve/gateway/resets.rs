//! The resets of TCP connections.

use std::time::Duration;

use tower_lb::{endpoint::Health, geneve::Gateway};

use crate::rig::{CLIENT, Rig, SERVER, data, read_reset, syn, syn_ack, tcp, two_resets, udp};

const TO_CLIENT: &str = "TCP 10.0.9.9:443 > 10.0.0.1:40000";
const TO_SERVER: &str = "TCP 10.0.0.1:40000 > 10.0.9.9:443";

/// Opens a connection, and returns its appliance. The client has sent 3 bytes, and expects 5001.
/// The server expects 1004.
async fn connect(rig: &mut Rig) -> usize {
    rig.pass(syn(CLIENT, SERVER)).await;
    rig.pass(syn_ack(SERVER, CLIENT)).await;
    rig.pass(data(CLIENT, SERVER, b"GET")).await;
    let acknowledgment = tcp(SERVER, CLIENT, &[], |header| {
        header.ack = true;
        (header.sequence_number, header.acknowledgment_number) = (5001, 1004);
    });
    rig.pass(acknowledgment).await.0
}

/// The sequence number is exactly the one that each side expects.
fn exact() -> [(String, u32, Option<u32>); 2] {
    [(TO_SERVER.into(), 1004, None), (TO_CLIENT.into(), 5001, None)]
}

fn sorted<T: Ord>(mut values: [T; 2]) -> [T; 2] {
    values.sort();
    values
}

#[tokio::test]
async fn an_idle_connection_is_reset_on_both_sides() {
    let idle = Duration::from_millis(300);
    let mut rig = Rig::start(Gateway::builder().reset_on_idle(true).tcp_idle(idle), 1).await;
    connect(&mut rig).await;
    assert_eq!(two_resets(&mut rig).await, sorted(exact()));
    let status = rig.counted(|status| status.flows == 0).await;
    assert_eq!((status.resets, rig.in_flight()), (2, 0));
    rig.is_quiet().await;
}

/// Late packets are answered, so that their sender gives up.
#[tokio::test]
async fn a_packet_without_a_flow_is_answered() {
    let mut rig = Rig::start(Gateway::builder().reset_on_idle(true), 1).await;
    rig.enter(data(CLIENT, SERVER, b"GET"));
    // To a segment with ACK: the number that its sender expects.
    assert_eq!(read_reset(rig.leave().await), (TO_CLIENT.into(), 5001, None));
    // To one without: it is acknowledged, with its FIN and its data.
    let fin = tcp(CLIENT, SERVER, b"bye", |header| header.fin = true);
    rig.enter(fin);
    assert_eq!(read_reset(rig.leave().await), (TO_CLIENT.into(), 0, Some(1004)));
    rig.enter(data("[2001:db8::1]:1", "[2001:db8::2]:2", b"GET"));
    let six = "TCP [2001:db8::2]:2 > [2001:db8::1]:1";
    assert_eq!(read_reset(rig.leave().await), (six.into(), 5001, None));
    // Never to a reset, and never to a group.
    rig.enter(tcp(CLIENT, SERVER, &[], |header| (header.rst, header.ack) = (true, true)));
    rig.enter(data(CLIENT, "224.0.0.1:443", b"GET"));
    rig.enter(data("255.255.255.255:1", SERVER, b"GET"));
    let status = rig.counted(|status| status.packets_in == 6).await;
    assert_eq!((status.dropped.not_syn, status.resets), (6, 3));
    rig.is_quiet().await;
}

#[tokio::test]
async fn a_connection_whose_appliance_has_failed_is_reset() {
    let health = [Health::unhealthy("down"), Health::draining("deploy")];
    for (index, health) in health.into_iter().enumerate() {
        let settings = Gateway::builder();
        let settings = match index {
            0 => settings.reset_on_unhealthy(true),
            _ => settings.reset_on_deregistration(true),
        };
        let mut rig = Rig::start(settings, 2).await;
        let number = connect(&mut rig).await;
        rig.pass(udp(CLIENT, SERVER, b"1")).await;
        rig.set_health(number, health).await;
        // With its next packet, which is dropped.
        rig.enter(data(SERVER, CLIENT, b""));
        assert_eq!(two_resets(&mut rig).await, sorted(exact()));
        let status = rig.counted(|status| status.dropped.reset == 1).await;
        assert_eq!((status.flows, status.resets), (1, 2));
        // Other protocols keep the appliance.
        rig.pass(udp(CLIENT, SERVER, b"2")).await;
        // A new connection goes elsewhere.
        assert_eq!(rig.pass(syn(CLIENT, SERVER)).await.0, 1 - number);
    }
}

#[tokio::test]
async fn each_setting_is_for_its_own_cause() {
    let mut rig = Rig::start(Gateway::builder().reset_on_deregistration(true), 2).await;
    let number = connect(&mut rig).await;
    rig.set_health(number, Health::unhealthy("down")).await;
    assert_eq!(rig.pass(data(CLIENT, SERVER, b"GET")).await.0, number);
    rig.remove(number).await;
    rig.enter(data(CLIENT, SERVER, b"GET"));
    rig.counted(|status| status.resets == 2).await;
}

/// A client that has only sent its SYN expects an acknowledgment of it; the server knows nothing.
#[tokio::test]
async fn a_half_open_connection_is_reset_on_one_side() {
    let idle = Duration::from_millis(100);
    let mut rig = Rig::start(Gateway::builder().reset_on_idle(true).tcp_idle(idle), 1).await;
    rig.pass(syn(CLIENT, SERVER)).await;
    assert_eq!(read_reset(rig.leave().await), (TO_CLIENT.into(), 0, Some(1001)));
    rig.is_quiet().await;
}

/// Numbers wrap around, and a delayed packet does not turn them back.
#[tokio::test]
async fn the_latest_numbers_count() {
    let idle = Duration::from_millis(500);
    let mut rig = Rig::start(Gateway::builder().reset_on_idle(true).tcp_idle(idle), 1).await;
    rig.pass(syn(CLIENT, SERVER)).await;
    let acknowledging = |number: u32| {
        tcp(CLIENT, SERVER, &[], |header| {
            (header.ack, header.acknowledgment_number) = (true, number)
        })
    };
    for number in [u32::MAX - 5, 7, u32::MAX] {
        rig.pass(acknowledging(number)).await;
    }
    assert_eq!(read_reset(rig.leave().await), (TO_CLIENT.into(), 7, None));
}

/// A connection that both sides have closed, or that one has reset, is forgotten without resets.
#[tokio::test]
async fn a_closed_connection_is_not_reset() {
    let idle = Duration::from_millis(300);
    let fin = |source, destination, numbers: (u32, u32)| {
        tcp(source, destination, &[], |header| {
            (header.fin, header.ack) = (true, true);
            (header.sequence_number, header.acknowledgment_number) = numbers;
        })
    };
    let rst = |sequence: u32| {
        tcp(SERVER, CLIENT, &[], |header| (header.rst, header.sequence_number) = (true, sequence))
    };
    let endings = [
        (vec![fin(CLIENT, SERVER, (1004, 5001)), fin(SERVER, CLIENT, (5001, 1005))], 0),
        (vec![rst(5001)], 0),
        // A forged reset misses the number, and one side that closes is not both.
        (vec![rst(4999)], 2),
        (vec![fin(CLIENT, SERVER, (1004, 5001))], 2),
    ];
    for (packets, resets) in endings {
        let mut rig = Rig::start(Gateway::builder().reset_on_idle(true).tcp_idle(idle), 1).await;
        connect(&mut rig).await;
        for packet in packets {
            rig.pass(packet).await;
        }
        let status = rig.counted(|status| status.flows == 0).await;
        assert_eq!(status.resets, resets);
    }
}

/// A closed connection is remembered for a minute, and others for `tcp_idle`.
#[tokio::test]
async fn a_closed_connection_is_forgotten_early() {
    let mut rig = Rig::with(1).await;
    connect(&mut rig).await;
    rig.pass(syn("10.0.0.2:1", SERVER)).await;
    rig.pass(tcp(SERVER, CLIENT, &[], |header| {
        (header.rst, header.sequence_number) = (true, 5001)
    }))
    .await;
    assert_eq!(rig.monitor.status().flows, 2);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(70)).await;
    tokio::time::resume();
    let status = rig.counted(|status| status.flows_expired == 1).await;
    assert_eq!(status.flows, 1);
    rig.pass(data("10.0.0.2:1", SERVER, b"GET")).await;
}

/// The answer of a closed port acknowledges the SYN, and its sequence number is 0.
#[tokio::test]
async fn a_refused_connection_is_forgotten_early() {
    let mut rig = Rig::with(1).await;
    let refusal = |client: &str, acknowledgment: Option<u32>| {
        tcp(SERVER, client, &[], |header| {
            (header.rst, header.ack) = (true, acknowledgment.is_some());
            (header.sequence_number, header.acknowledgment_number) =
                (0, acknowledgment.unwrap_or(0));
        })
    };
    // The others are forged: they do not know the number of the SYN.
    let refusals = [(CLIENT, Some(1001)), ("10.0.0.2:1", Some(1000)), ("10.0.0.3:1", None)];
    for (client, acknowledgment) in refusals {
        rig.pass(syn(client, SERVER)).await;
        rig.pass(refusal(client, acknowledgment)).await;
    }
    assert_eq!(rig.monitor.status().flows, 3);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(70)).await;
    tokio::time::resume();
    let status = rig.counted(|status| status.flows_expired == 1).await;
    assert_eq!(status.flows, 2);
    for client in ["10.0.0.2:1", "10.0.0.3:1"] {
        rig.pass(data(client, SERVER, b"GET")).await;
    }
}
