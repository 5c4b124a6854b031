//! A path whose MTU is smaller than that of the first link, in network namespaces.
//!
//! ```text
//! relay ──1500── router ──1000── target
//! ```
//!
//! The router drops the first long datagram, and reports the MTU by an ICMP error.

use std::{
    env,
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tokio::time::Instant;
use tower::Service;
use tower_lb::{
    health::Check,
    udp::{Datagram, DatagramCheck, Exchange, TargetLoss, UdpRelay},
};

use crate::peers::{Client, Echo, Running, SOON};

const ROLE: &str = "TOWER_LB_UDP_ROLE";
/// What runs beside the target. Each role has an address of the target, because the kernel
/// remembers the MTU of a path for its address.
const ROLES: [&str; 4] = ["relay", "keeping relay", "exchange", "check"];
const LONG: [u8; 1400] = [b'x'; 1400];

#[test]
fn a_path_with_a_smaller_mtu_is_no_refusal() {
    let Some(namespaces) = Namespaces::new() else { return };
    let mut target = Process(namespaces.role("target").spawn().unwrap());
    for role in ROLES {
        let output = namespaces.role(role).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{role}: {text}");
    }
    assert!(target.0.try_wait().unwrap().is_none(), "the target has ended");
}

/// Not a test, but what the test starts in a namespace: this binary again.
#[test]
fn path_mtu_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let Some(index) = ROLES.iter().position(|known| *known == role) else {
            let mut echoes = Vec::new();
            for index in 0..ROLES.len() {
                echoes.push(Echo::at(&target(index).to_string()).await);
            }
            return std::future::pending().await;
        };
        let target = target(index);
        reach(target).await;
        match role.as_str() {
            "relay" => relays(TargetLoss::Repick, target).await,
            "keeping relay" => relays(TargetLoss::Keep, target).await,
            "exchange" => {
                let any = "192.0.2.1:1".parse().unwrap();
                let request = Datagram::new(LONG.to_vec(), any, any);
                let reply = Exchange::new(target).timeout(SOON).call(request).await;
                assert!(reply.expect("the request is sent again").ends_with(&LONG));
            }
            _ => {
                let check = DatagramCheck::new(LONG.to_vec()).check(target);
                tokio::time::timeout(SOON, check).await.expect("sent again").unwrap();
            }
        }
    });
}

fn target(index: usize) -> SocketAddr {
    ([10, 2, 0, 10 + index as u8], 7).into()
}

/// Waits until the target replies, which has just been started.
async fn reach(target: SocketAddr) {
    Client::from([0; 4].into(), target).await.ask_again("hello").await;
}

async fn relays(on_refused: TargetLoss, target: SocketAddr) {
    let relay = Running::start(UdpRelay::builder().on_refused(on_refused), [target]).await;
    let client = Client::of(relay.address).await;
    client.ask("short").await;
    let begun = Instant::now();
    let mut lost = 0;
    loop {
        client.send(LONG).await;
        if client.receive(Duration::from_millis(200)).await.is_some() {
            break;
        }
        lost += 1;
        assert!(begun.elapsed() < SOON, "no long datagram arrives: {:?}", relay.status());
    }
    assert!(lost > 0, "the router has dropped no datagram");
    client.ask("short").await;
    let status = relay.status();
    assert_eq!((status.flows_created, status.repicked), (1, 0), "{status:?}");
    assert_eq!(status.dropped.total(), 0, "{status:?}");
    assert_eq!(relay.outstanding(), 1);
    let outcomes = relay.balancer.status().endpoints[0].outcomes;
    assert_eq!(outcomes.total(), 0, "the flow is still the first attempt: {outcomes:?}");
}

/// Three namespaces, which are removed when this is dropped.
struct Namespaces {
    prefix: String,
}

/// A process, which is killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(line: &str) -> std::io::Result<Output> {
    let mut words = line.split_whitespace();
    Command::new(words.next().unwrap()).args(words).output()
}

fn run(line: &str) {
    let output = command(line).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Namespaces {
    /// Returns `None`, and prints why, where namespaces are not permitted.
    fn new() -> Option<Self> {
        let namespaces = Self { prefix: format!("udp{}", std::process::id()) };
        let [relay, router, target] = ["relay", "router", "target"].map(|one| namespaces.name(one));
        match command(&format!("ip netns add {relay}")) {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                println!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
            Err(error) => {
                println!("SKIPPED: ip: {error}");
                return None;
            }
        }
        for line in [
            format!("ip netns add {router}"),
            format!("ip netns add {target}"),
            format!("ip link add vr netns {router} type veth peer name eth0 netns {relay}"),
            format!("ip link add vt netns {router} type veth peer name eth0 netns {target}"),
            format!("ip -n {relay} addr add 10.1.0.2/24 dev eth0"),
            format!("ip -n {router} addr add 10.1.0.1/24 dev vr"),
            format!("ip -n {router} addr add 10.2.0.1/24 dev vt"),
            format!("ip -n {router} link set vt mtu 1000"),
            format!("ip -n {target} link set eth0 mtu 1000"),
            format!("ip -n {relay} link set lo up"),
            format!("ip -n {relay} link set eth0 up"),
            format!("ip -n {target} link set eth0 up"),
            format!("ip -n {router} link set vr up"),
            format!("ip -n {router} link set vt up"),
            format!("ip -n {relay} route add default via 10.1.0.1"),
            format!("ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            run(&line);
        }
        for index in 0..ROLES.len() {
            let address = self::target(index).ip();
            run(&format!("ip -n {target} addr add {address}/24 dev eth0"));
        }
        run(&format!("ip -n {target} route add default via 10.2.0.1"));
        Some(namespaces)
    }

    fn name(&self, one: &str) -> String {
        format!("{}{one}", self.prefix)
    }

    /// Returns this binary as a process with a role, in the namespace of the role.
    fn role(&self, role: &str) -> Command {
        let namespace = self.name(if role == "target" { "target" } else { "relay" });
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace]).arg(env::current_exe().unwrap());
        command.args(["--exact", "path_mtu::path_mtu_process", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for one in ["relay", "router", "target"] {
            let _ = command(&format!("ip netns del {}", self.name(one)));
        }
    }
}
