use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tower_lb::{
    observe::{Registry, metrics::Exporter},
    tcp::Relays,
};

use crate::{
    nlb::{before, soon},
    target::{Target, assert_reset, closed, read, read_all, reset},
};

#[tokio::test]
async fn metrics_tell_connections_resets_and_bytes() {
    let (sender, mut accepted) = mpsc::unbounded_channel::<TcpStream>();
    let target = Target::start(move |stream| {
        let sent = sender.send(stream);
        async move { sent.unwrap() }
    })
    .await;
    let nlb = before(Relays::builder().name("db \"1\""), &[target.address]);
    let registry = Registry::new();
    registry.add(&nlb.relays);
    // A clone is the same component.
    registry.add(&nlb.relays.clone());

    // A connection that both sides close, one that each side resets, and one that stays.
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(soon(read_all(&mut server)).await, "question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(soon(read_all(&mut client)).await, "answer");
    let client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    reset(client);
    soon(assert_reset(&mut server)).await;
    let mut client = nlb.connect().await;
    reset(accepted.recv().await.unwrap());
    soon(assert_reset(&mut client)).await;
    nlb.idle().await;
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"hello").await.unwrap();
    assert_eq!(soon(read(&mut client, 5)).await, "hello");

    let text = Exporter::new(&registry).render();
    let name = r#"relay="db \"1\"""#;
    for line in [
        format!("tower_lb_tcp_connections{{{name}}} 1"),
        format!("tower_lb_tcp_connections_opened_total{{{name}}} 4"),
        format!(r#"tower_lb_tcp_connections_closed_total{{{name},cause="closed"}} 1"#),
        format!(r#"tower_lb_tcp_connections_closed_total{{{name},cause="client_reset"}} 1"#),
        format!(r#"tower_lb_tcp_connections_closed_total{{{name},cause="target_reset"}} 1"#),
        format!(r#"tower_lb_tcp_connections_closed_total{{{name},cause="idle"}} 0"#),
        format!(r#"tower_lb_tcp_connect_failures_total{{{name},reason="refused"}} 0"#),
        format!(r#"tower_lb_tcp_bytes_total{{{name},direction="in"}} 8"#),
        format!(r#"tower_lb_tcp_bytes_total{{{name},direction="out"}} 11"#),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    let [relays] = &registry.report().tcp_relays[..] else { panic!("one component") };
    assert!(relays.to_string().starts_with(r#"db "1": 1 of 4 connections open"#), "{relays}");
}

#[tokio::test]
async fn relays_are_reported_until_the_last_connection_has_ended() {
    let target = Target::echo("").await;
    let nlb = before(Relays::builder(), &[closed().await, target.address]);
    let registry = Registry::new();
    registry.add(&nlb.relays);
    // Round robin begins anywhere, and a retry takes a turn too: one or two picks of the closed one.
    for _ in 0..2 {
        let mut client = nlb.connect().await;
        client.write_all(b"1").await.unwrap();
        assert_eq!(soon(read(&mut client, 1)).await, "1");
    }
    let report = registry.report();
    let [relays] = &report.tcp_relays[..] else { panic!("one component") };
    assert_eq!(&*relays.name, "tcp");
    assert!((1..=2).contains(&relays.failed.refused), "{}", relays.failed.refused);

    let mut client = nlb.connect().await;
    client.write_all(b"1").await.unwrap();
    assert_eq!(soon(read(&mut client, 1)).await, "1");
    let (relays, serving) = (nlb.relays, nlb.serving);
    drop(relays);
    assert_eq!(registry.report().tcp_relays.len(), 1);
    serving.abort();
    let _ = serving.await;
    // The connections end with the listener, and the balancer's driver with the balancer.
    assert_eq!(soon(client.read(&mut [0; 1])).await.unwrap_or_default(), 0);
    soon(async {
        while !registry.report().tcp_relays.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
