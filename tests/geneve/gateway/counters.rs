//! What a registry reports of gateways and inspectors.

use std::{convert::Infallible, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};
use tower::service_fn;
use tower_lb::{
    Balancer, discover,
    geneve::{self, ApplianceTracker, Gateway, Inspector, NewFlow, Packet},
    observe::{Registry, metrics::Exporter},
    strategy::Maglev,
};

use crate::rig::{CLIENT, SERVER, data, udp};

#[tokio::test]
async fn metrics_tell_flows_packets_and_drops() {
    let no_telnet = service_fn(|packet: Packet| async move {
        Ok::<_, Infallible>((packet.destination_port() != Some(23)).then_some(packet))
    });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let appliance = socket.local_addr().unwrap();
    let inspector = Inspector::builder().name("no telnet").build(socket, no_telnet);
    let balancer = Balancer::builder()
        .track(ApplianceTracker)
        .spawn(Maglev::new(NewFlow::hash), geneve::appliances(discover::addresses([appliance])))
        .unwrap();
    while balancer.status().endpoints.is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    let (end, mut network) = geneve::memory_ends(64);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::builder().name("edge").build(end, socket, balancer).unwrap();

    // What serves is added before it is moved into its task; a monitor is the same component.
    let registry = Registry::new();
    registry.add(&gateway);
    registry.add(&gateway.monitor());
    registry.add(&inspector);
    registry.add(&inspector.monitor());
    let monitors = (gateway.monitor(), inspector.monitor());
    let inspecting = tokio::spawn(inspector);
    let serving = tokio::spawn(gateway);

    let (question, answer) = (udp(CLIENT, SERVER, b"question"), udp(SERVER, CLIENT, b"answer"));
    let passed = question.len() + answer.len();
    let telnet = udp(CLIENT, "10.0.9.9:23", b"telnet");
    let stray = data(CLIENT, SERVER, b"no SYN before it");
    let entered = passed + telnet.len() + stray.len();
    for packet in [question, answer] {
        network.send(packet.clone().into());
        let left = timeout(Duration::from_secs(20), network.recv()).await.unwrap();
        assert_eq!(left.as_deref(), Some(&packet[..]));
    }
    network.send(telnet.into());
    network.send(stray.into());
    let counted = async {
        while monitors.1.status().dropped.rejected + monitors.0.status().dropped.not_syn < 2
            || monitors.0.status().flows < 2
        {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), counted).await.unwrap();

    let text = Exporter::new(&registry).render();
    let (gateway, inspector) = (r#"gateway="edge""#, r#"inspector="no telnet""#);
    for line in [
        format!("tower_lb_geneve_flows{{{gateway}}} 2"),
        format!("tower_lb_geneve_flows_created_total{{{gateway}}} 2"),
        format!(r#"tower_lb_geneve_flows_expired_total{{{gateway},cause="idle"}} 0"#),
        format!("tower_lb_geneve_flows_rebalanced_total{{{gateway}}} 0"),
        format!(r#"tower_lb_geneve_packets_total{{{gateway},direction="in"}} 4"#),
        format!(r#"tower_lb_geneve_packets_total{{{gateway},direction="to_appliances"}} 3"#),
        format!(r#"tower_lb_geneve_packets_total{{{gateway},direction="out"}} 2"#),
        format!(r#"tower_lb_geneve_bytes_total{{{gateway},direction="in"}} {entered}"#),
        format!(r#"tower_lb_geneve_bytes_total{{{gateway},direction="out"}} {passed}"#),
        format!("tower_lb_geneve_resets_total{{{gateway}}} 0"),
        format!(r#"tower_lb_geneve_packets_dropped_total{{{gateway},reason="not_syn"}} 1"#),
        format!(r#"tower_lb_geneve_packets_dropped_total{{{gateway},reason="no_appliance"}} 0"#),
        format!(r#"tower_lb_geneve_inspector_packets_total{{{inspector},direction="in"}} 3"#),
        format!(r#"tower_lb_geneve_inspector_packets_total{{{inspector},direction="out"}} 2"#),
        format!(
            r#"tower_lb_geneve_inspector_packets_dropped_total{{{inspector},reason="rejected"}} 1"#
        ),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }

    // Both are gone with their tasks and monitors.
    assert!(monitors.0.status().to_string().starts_with("edge: 2 of 2 flows tracked"));
    assert!(monitors.1.status().to_string().starts_with("no telnet: 2 of 3 packets returned"));
    drop(monitors);
    inspecting.abort();
    serving.abort();
    let _ = (inspecting.await, serving.await);
    let report = registry.report();
    assert!(report.gateways.is_empty() && report.inspectors.is_empty());
}
