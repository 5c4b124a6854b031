//! The example `nlb` with `--udp`, as a process between clients and targets.

#[path = "../relay/dnsmasq.rs"]
mod dnsmasq;
#[path = "../../../examples/nlb/main.rs"]
#[allow(dead_code)]
mod example;
#[path = "../../tcp/relay/nlb_process.rs"]
#[allow(dead_code)]
mod nlb_process;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    task::block_in_place,
    time::{sleep, timeout},
};

use self::{
    dnsmasq::{Dnsmasq, dig},
    nlb_process::Process,
};

const SOON: Duration = Duration::from_secs(5);
/// Longer than a datagram needs, which is lost.
const WHILE: Duration = Duration::from_millis(300);

/// A target that replies with its name. It does not listen on TCP.
async fn target(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.1.3:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(name.as_bytes(), from).await;
        }
    });
    address
}

/// A client port that sends to one address.
struct Client(UdpSocket);

impl Client {
    async fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    /// Sends a datagram, and returns the reply if it comes within the time.
    async fn ask(&self, within: Duration) -> Option<String> {
        // An error is that of an earlier datagram.
        let _ = self.0.send(b"who?").await;
        let mut buffer = [0; 64];
        let length = timeout(within, self.0.recv(&mut buffer)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Sends until a reply comes: the targets are being checked at first.
    async fn ask_until(&self, expected: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            match self.ask(WHILE).await {
                Some(reply) if expected(&reply) => return reply,
                other => assert!(start.elapsed() < SOON, "{other:?}"),
            }
        }
    }
}

/// Returns whether a line that the process has printed contains all `parts`.
fn has_line(output: &str, parts: &[&str]) -> bool {
    output.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_asks_servers_that_pass_their_checks() {
    let Some(mut first) = Dnsmasq::start("192.0.2.1").await else { return };
    let Some(second) = Dnsmasq::start("192.0.2.2").await else { return };
    let more = ["--udp", "--health=dns:shop.example", "--health-interval=0.2", "--drain=0"];
    let mut process = Process::start(&[first.address, second.address], &more);
    let ask = || dig(process.address, "shop.example");
    let start = Instant::now();
    let (mut firsts, mut seconds) = (0, 0);
    // Each query is a flow.
    while firsts == 0 || seconds == 0 {
        match ask().await.as_deref() {
            Some("192.0.2.1") => firsts += 1,
            Some("192.0.2.2") => seconds += 1,
            other => assert_eq!(other, None),
        }
        assert!(start.elapsed() < 2 * SOON, "{firsts} and {seconds} answers");
    }
    first.kill();
    // Queries are lost until three checks have failed.
    let start = Instant::now();
    let mut answers = 0;
    while answers < 10 {
        match ask().await.as_deref() {
            Some("192.0.2.2") => answers += 1,
            Some(other) => panic!("{other}"),
            None => answers = 0,
        }
        assert!(start.elapsed() < 4 * SOON, "{answers} answers");
    }
    process.signal();
    let (code, output) = block_in_place(|| process.ended());
    assert_eq!(code, Some(0), "{output}");
    assert!(has_line(&output, &["flows were cut off"]), "{output}");
    assert!(has_line(&output, &["udp: 0 of", "datagrams in"]), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_go_on_while_it_drains() {
    let targets = [target("a").await];
    let more = ["--udp", "--health=none", "--idle-timeout=1", "--drain=20"];
    let mut process = Process::start(&targets, &more);
    let client = Client::of(process.address).await;
    client.ask_until(|reply| reply == "a").await;
    process.signal();
    sleep(WHILE).await;
    let late = Client::of(process.address).await;
    assert_eq!(late.ask(WHILE).await, None, "a new flow");
    assert_eq!(client.ask(SOON).await.as_deref(), Some("a"), "an established flow");
    // The flow is idle for a second, long before the limit of 20 seconds.
    let start = Instant::now();
    let (code, output) = block_in_place(|| process.ended());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(code, Some(0), "{output}");
    assert!(has_line(&output, &["drained"]), "{output}");
    assert!(has_line(&output, &["udp: 0 of 1 flows"]), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_drain_ends_also_busy_flows() {
    let targets = [target("a").await];
    let mut process = Process::start(&targets, &["--udp", "--health=none", "--drain=0.5"]);
    let client = Client::of(process.address).await;
    client.ask_until(|reply| reply == "a").await;
    process.signal();
    let start = Instant::now();
    let (code, output) = block_in_place(|| process.ended());
    assert!(start.elapsed() < SOON);
    assert_eq!(code, Some(0), "{output}");
    assert!(has_line(&output, &["1 flows were cut off"]), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_of_a_client_go_to_one_target_if_asked() {
    let targets = [target("a").await, target("b").await, target("c").await];
    let replies = async |more: &[&str]| {
        let all = [&["--udp", "--health=none", "--drain=0"], more].concat();
        let process = Process::start(&targets, &all);
        Client::of(process.address).await.ask_until(|_| true).await;
        // Until all targets have been checked.
        sleep(Duration::from_millis(500)).await;
        let mut replies = Vec::new();
        for _ in 0..20 {
            replies.push(Client::of(process.address).await.ask(SOON).await.unwrap());
        }
        replies.sort();
        replies.dedup();
        replies.len()
    };
    assert_eq!(replies(&["--sticky-source"]).await, 1);
    assert!(replies(&[]).await > 1);
}

/// The check by TCP, the default: one target listens on TCP too, and the other one does not.
#[tokio::test(flavor = "multi_thread")]
async fn targets_without_tcp_need_another_check() {
    let (with, without) = (target("with").await, target("without").await);
    let listener = tokio::net::TcpListener::bind(with).await.unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let process = Process::start(&[with, without], &["--udp", "--drain=0"]);
    for _ in 0..10 {
        let client = Client::of(process.address).await;
        assert_eq!(client.ask_until(|_| true).await, "with");
    }
}
