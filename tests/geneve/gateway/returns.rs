//! What appliances may return, and what not.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_lb::geneve::{AwsOptions, Gateway};

use crate::rig::{CLIENT, Rig, SERVER, ping, syn, udp};

/// Checks that a packet does not come out of the gateway, and is counted.
macro_rules! refused {
    ($rig:expr, $reason:ident) => {
        let status = $rig.counted(|status| status.dropped.total() > 0).await;
        assert_eq!((status.dropped.$reason, status.dropped.total()), (1, 1), "{}", status.dropped);
        assert_eq!(status.packets_passed, 0);
        $rig.is_quiet().await;
    };
}

/// Returns a packet in the header that `change` makes of the one it came in.
async fn answer_in(rig: &Rig, change: impl FnOnce(&mut Vec<u8>)) {
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    let mut header = delivered.header.as_bytes().to_vec();
    change(&mut header);
    let datagram = [&header[..], delivered.packet.as_bytes()].concat();
    rig.appliances[number].socket.send_to(&datagram, rig.gateway).await.unwrap();
}

#[tokio::test]
async fn a_wrong_cookie_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[39] ^= 1).await;
    refused!(rig, wrong_cookie);
}

#[tokio::test]
async fn a_wrong_endpoint_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[19] ^= 1).await;
    refused!(rig, wrong_cookie);
}

#[tokio::test]
async fn a_missing_option_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[34] = 9).await;
    refused!(rig, wrong_options);
}

#[tokio::test]
async fn an_unknown_critical_option_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| {
        header[0] += 1;
        header.extend([0x01, 0x02, 0x80, 0]);
    })
    .await;
    refused!(rig, unknown_critical_option);
}

#[tokio::test]
async fn a_control_message_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[1] = 0x80).await;
    refused!(rig, control);
}

#[tokio::test]
async fn another_version_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[0] |= 0x80).await;
    refused!(rig, wrong_version);
}

#[tokio::test]
async fn an_overlong_option_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[35] = 31).await;
    refused!(rig, malformed_header);
}

#[tokio::test]
async fn ethernet_is_dropped() {
    let mut rig = Rig::with(1).await;
    answer_in(&rig, |header| header[2..4].copy_from_slice(&[0x65, 0x58])).await;
    refused!(rig, wrong_protocol);
}

#[tokio::test]
async fn another_appliance_cannot_answer() {
    let mut rig = Rig::with(2).await;
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    rig.appliances[1 - number].give_back(&delivered).await;
    refused!(rig, wrong_appliance);
}

/// Also with the cookie of another flow at the same appliance.
#[tokio::test]
async fn a_packet_of_no_flow_is_dropped() {
    let mut rig = Rig::with(1).await;
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    rig.appliances[number].answer(&delivered, &udp("10.0.0.9:9", SERVER, b"question")).await;
    refused!(rig, unknown_flow);
}

#[tokio::test]
async fn the_cookie_of_another_flow_does_not_help() {
    let mut rig = Rig::with(1).await;
    let (_, first) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    rig.deliver(udp("10.0.0.9:9", SERVER, b"question")).await;
    rig.appliances[0].answer(&first, &udp("10.0.0.9:9", SERVER, b"question")).await;
    refused!(rig, wrong_cookie);
}

#[tokio::test]
async fn a_truncated_packet_is_dropped() {
    let mut rig = Rig::with(1).await;
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    let packet = delivered.packet.as_bytes();
    rig.appliances[number].answer(&delivered, &packet[..packet.len() - 1]).await;
    refused!(rig, unparsable_return);
}

/// An inspector may change what follows the ports.
#[tokio::test]
async fn a_changed_payload_passes() {
    let mut rig = Rig::with(1).await;
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"secret")).await;
    let changed = udp(CLIENT, SERVER, b"redacted by the inspector");
    rig.appliances[number].answer(&delivered, &changed).await;
    assert_eq!(rig.leave().await, changed);
}

/// Headers are compared by their meaning: reserved bits and options of the appliance do not matter.
#[tokio::test]
async fn an_option_of_the_appliance_does_not_matter() {
    let mut rig = Rig::start(Gateway::builder().endpoint_id(5), 1).await;
    answer_in(&rig, |header| {
        header[0] += 1;
        header.extend([0x99, 0x99, 0x01, 0]);
    })
    .await;
    assert_eq!(rig.leave().await, udp(CLIENT, SERVER, b"question"));
}

#[tokio::test]
async fn an_appliance_opens_no_flow() {
    let mut rig = Rig::with(1).await;
    let options = AwsOptions { endpoint_id: 0, attachment_id: 0, flow_cookie: 0 };
    for packet in [syn(CLIENT, SERVER), ping(CLIENT, SERVER)] {
        let datagram = [&options.encode(0x0800)[..], &packet].concat();
        rig.appliances[0].socket.send_to(&datagram, rig.gateway).await.unwrap();
    }
    let status = rig.counted(|status| status.dropped.unknown_flow == 2).await;
    assert_eq!(status.flows, 0);
    rig.is_quiet().await;
}

/// Only packets from the network count as use of a flow.
#[tokio::test]
async fn an_appliance_keeps_no_flow_alive() {
    let settings = Gateway::builder().other_idle(Duration::from_millis(300));
    let rig = Rig::start(settings, 1).await;
    let (number, delivered) = rig.deliver(udp(CLIENT, SERVER, b"question")).await;
    rig.counted(|status| status.flows == 1).await;
    let answering = async {
        while rig.monitor.status().flows > 0 {
            rig.appliances[number].give_back(&delivered).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), answering).await.expect("the flow ends");
    let status = rig.monitor.status();
    assert!(status.packets_passed > 0 && status.flows_expired == 1, "{status}");
}
