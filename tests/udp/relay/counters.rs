//! What a registry reports of relays and responders.

use std::time::Duration;

use tower_lb::{
    observe::{Registry, metrics::Exporter},
    udp::{Exchange, UdpRelay, UdpResponder},
};

use crate::{
    exchange::Responding,
    peers::{Client, Echo, Running},
};

#[tokio::test]
async fn metrics_tell_flows_datagrams_and_drops() {
    let echo = Echo::start().await;
    // A source may have two of four flows.
    let builder = UdpRelay::builder().name("games").max_flows(4).source_share(0.5);
    let relay = Running::start(builder, [echo.address]).await;
    let registry = Registry::new();
    registry.add(&relay.handle);
    registry.add(&relay.handle.clone());

    let (first, second) = (Client::of(relay.address).await, Client::of(relay.address).await);
    first.ask("one").await;
    first.ask("three").await;
    second.ask("two").await;
    Client::of(relay.address).await.send("refused").await;
    first.send("").await;
    relay.until("counted", |status| status.datagrams_in == 5).await;
    let status = relay.status();

    let text = Exporter::new(&registry).render();
    let name = r#"relay="games",kind="relay""#;
    for line in [
        r#"tower_lb_udp_flows{relay="games"} 2"#.to_owned(),
        r#"tower_lb_udp_flows_created_total{relay="games"} 2"#.to_owned(),
        r#"tower_lb_udp_flows_ended_total{relay="games",cause="idle"} 0"#.to_owned(),
        r#"tower_lb_udp_flows_repicked_total{relay="games"} 0"#.to_owned(),
        format!(r#"tower_lb_udp_datagrams_total{{{name},direction="in"}} 5"#),
        format!(r#"tower_lb_udp_bytes_total{{{name},direction="in"}} 18"#),
        format!(r#"tower_lb_udp_bytes_total{{{name},direction="out"}} {}"#, status.bytes_out),
        format!(r#"tower_lb_udp_datagrams_dropped_total{{{name},reason="source_full"}} 1"#),
        format!(r#"tower_lb_udp_datagrams_dropped_total{{{name},reason="table_full"}} 0"#),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    assert_eq!(registry.report().udp_relays, [status]);

    let address = relay.address;
    let ended = relay.stop().await;
    assert_eq!((ended.flows, ended.flows_ended.stopped), (0, 2));
    assert_eq!(registry.report().udp_relays.len(), 0, "{address} is gone with its handle");
}

#[tokio::test]
async fn metrics_tell_requests_of_responders() {
    let echo = Echo::start().await;
    let exchange = |address| Exchange::new(address).timeout(Duration::from_secs(5));
    // Not told apart from a relay of this name but by its kind.
    let builder = UdpResponder::builder().name("dns");
    let responder = Responding::start(builder, [echo.address], exchange).await;
    let registry = Registry::new();
    registry.add(responder.handle());
    let relay = Running::start(UdpRelay::builder().name("dns"), [echo.address]).await;
    registry.add(&relay.handle);

    let client = Client::of(responder.address).await;
    client.ask("one").await;
    client.ask("two").await;
    client.send("").await;
    while responder.status().dropped.empty == 0 {
        tokio::task::yield_now().await;
    }
    let text = Exporter::new(&registry).render();
    let name = r#"relay="dns",kind="responder""#;
    for line in [
        r#"tower_lb_udp_requests_in_flight{relay="dns"} 0"#.to_owned(),
        r#"tower_lb_udp_flows{relay="dns"} 0"#.to_owned(),
        format!(r#"tower_lb_udp_datagrams_total{{{name},direction="in"}} 3"#),
        format!(r#"tower_lb_udp_datagrams_total{{{name},direction="out"}} 2"#),
        format!(r#"tower_lb_udp_datagrams_dropped_total{{{name},reason="empty"}} 1"#),
        r#"tower_lb_udp_datagrams_total{relay="dns",kind="relay",direction="in"} 0"#.to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    assert_eq!(registry.report().udp_responders, [responder.status()]);
    responder.stop().await;
    relay.stop().await;
    assert!(registry.report().udp_responders.is_empty());
}
