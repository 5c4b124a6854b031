//! dig and dnsmasq, with a relay or a responder in between.

use std::time::Duration;

use tokio::time::sleep;
use tower_lb::{
    health::Check,
    udp::{DatagramCheck, Exchange, UdpRelay, UdpResponder},
};

use crate::{
    dnsmasq::{Dnsmasq, dig},
    exchange::Responding,
    peers::Running,
};

#[tokio::test]
async fn dig_gets_answers_through_a_relay() {
    let Some(mut first) = Dnsmasq::start("192.0.2.1").await else { return };
    let Some(second) = Dnsmasq::start("192.0.2.2").await else { return };
    let builder = UdpRelay::builder().max_flows(100).idle_timeout(Duration::from_secs(1));
    let relay = Running::start(builder, [first.address, second.address]).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(dig(relay.address, "shop.example").await.unwrap());
    }
    assert!(answers.iter().any(|answer| answer == "192.0.2.1"), "{answers:?}");
    assert!(answers.iter().any(|answer| answer == "192.0.2.2"), "{answers:?}");
    first.kill();
    // The first datagram of a flow at the killed server is lost. Its endpoint then fails.
    let mut lost = 0;
    for _ in 0..4 {
        lost += usize::from(dig(relay.address, "shop.example").await.is_none());
    }
    let status = relay.balancer.status();
    let dead = status.endpoints.iter().find(|one| *one.name == *first.address.to_string());
    assert_eq!(dead.unwrap().outcomes.transport as usize, lost);
    relay.endpoints.remove(first.address).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(dig(relay.address, "shop.example").await.as_deref(), Some("192.0.2.2"));
}

#[tokio::test]
async fn dig_notices_no_killed_server_behind_a_responder() {
    let Some(mut first) = Dnsmasq::start("192.0.2.1").await else { return };
    let Some(second) = Dnsmasq::start("192.0.2.2").await else { return };
    let addresses = [first.address, second.address];
    let responding =
        Responding::start(UdpResponder::builder().max_in_flight(100), addresses, Exchange::dns)
            .await;
    let first_answer = dig(responding.address, "shop.example").await.unwrap();
    let second_answer = dig(responding.address, "shop.example").await.unwrap();
    assert_ne!(first_answer, second_answer, "in turn");
    first.kill();
    for _ in 0..10 {
        let answer = dig(responding.address, "shop.example").await;
        assert_eq!(answer.as_deref(), Some("192.0.2.2"));
    }
    let status = responding.status();
    assert_eq!((status.datagrams_in, status.datagrams_out), (12, 12), "{status}");
}

#[tokio::test]
async fn the_check_sends_a_query() {
    let Some(mut server) = Dnsmasq::start("192.0.2.1").await else { return };
    let check = DatagramCheck::dns("shop.example").unwrap();
    check.check(server.address).await.unwrap();
    server.kill();
    let refused = check.check(server.address).await.unwrap_err();
    let refused = refused.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
