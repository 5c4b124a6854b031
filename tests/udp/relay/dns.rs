//! dig and dnsmasq, with a relay or a responder in between.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};
use tower_lb::{
    health::Check,
    udp::{DatagramCheck, Exchange, UdpRelay, UdpResponder},
};

use crate::{
    exchange::Responding,
    peers::{Running, SOON},
};

/// A DNS server that knows one name.
struct Dnsmasq {
    child: Child,
    address: SocketAddr,
}

impl Dnsmasq {
    /// Starts a server that answers with `answer`; `None` if dnsmasq or dig is not installed.
    async fn start(answer: &str) -> Option<Self> {
        let exists = |tool: &str| {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
            found.is_ok_and(|output| output.status.success())
        };
        if !["dnsmasq", "dig"].into_iter().all(exists) {
            println!("skipped: dnsmasq or dig is not installed");
            return None;
        }
        // At an address that no client has: no other socket takes the port in between.
        let free = UdpSocket::bind("127.0.1.2:0").await.unwrap().local_addr().unwrap();
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"])
            .args(["--bind-interfaces", "--listen-address=127.0.1.2", "--pid-file"])
            .arg(format!("--port={}", free.port()))
            .arg(format!("--address=/shop.example/{answer}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address: free };
        let end = Instant::now() + SOON;
        while dig(server.address, "shop.example").await.as_deref() != Some(answer) {
            assert!(Instant::now() < end, "dnsmasq does not answer");
            sleep(Duration::from_millis(20)).await;
        }
        Some(server)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks for an address; `None` if there is no answer.
async fn dig(server: SocketAddr, name: &str) -> Option<String> {
    let output = tokio::process::Command::new("dig")
        .args(["+short", "+tries=1", "+time=2", "-p", &server.port().to_string()])
        .args([&format!("@{}", server.ip()), name])
        .output()
        .await
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| answer.trim().to_owned())
}

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
