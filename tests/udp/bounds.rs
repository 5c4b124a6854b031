//! What flows take. These tests count what the whole process has, so they run one after the other.

#[path = "relay/peers.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod peers;

use std::time::Duration;

use peers::{Client, Echo, Running, WHILE};
use tokio::{
    runtime::{self, Runtime},
    time::sleep,
};
use tower_lb::udp::UdpRelay;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn flows_are_bounded() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(a_flood_gets_its_share_and_moves_no_other_flow());
    a_flow_takes_little_memory(&runtime);
}

async fn a_flood_gets_its_share_and_moves_no_other_flow() {
    let before = open_files();
    let echo = Echo::start().await;
    let idle = Duration::from_secs(1);
    let builder = UdpRelay::builder().max_flows(100).source_share(0.2).idle_timeout(idle);
    let relay = Running::start(builder, [echo.address]).await;
    let victim = Client::from([127, 0, 0, 2].into(), relay.address).await;
    victim.ask("first").await;
    // A target that never replies: flows stay new, and the flood displaces itself.
    let mut flood = Vec::new();
    for number in 0..1000_u32 {
        let client = Client::of(relay.address).await;
        client.send(number.to_be_bytes()).await;
        if number % 50 == 0 {
            victim.ask("again").await;
            assert!(relay.status().flows <= 21, "{}", relay.status());
        }
        flood.push(client);
        if flood.len() > 100 {
            flood.remove(0);
        }
    }
    relay.until("flooded", |status| status.datagrams_in >= 1000).await;
    let status = relay.status();
    assert!(status.flows <= 21, "{status}");
    assert!(status.dropped.source_full + status.flows_ended.evicted > 900, "{status:?}");
    assert!(open_files() < before + 100 + 60, "{}", open_files());
    victim.ask("last").await;
    drop(flood);
    relay.until("idle", |status| status.flows == 0).await;
    relay.stop().await;
    drop((victim, echo));
    sleep(WHILE).await;
    assert!(open_files() <= before + 8, "{} of {before}", open_files());
}

/// Measures all that is allocated while flows are open, with tokio's registrations. All runs in the
/// thread of the test.
fn a_flow_takes_little_memory(runtime: &Runtime) {
    const FLOWS: i64 = 1000;
    let (relay, clients, _echo) = runtime.block_on(async {
        let echo = Echo::start().await;
        let builder = UdpRelay::builder().max_flows(5000).source_share(1.0);
        let relay = Running::start(builder, [echo.address]).await;
        let mut clients = Vec::new();
        for _ in 0..FLOWS {
            clients.push(Client::of(relay.address).await);
        }
        (relay, clients, echo)
    });
    let ask = async || {
        for client in &clients {
            client.ask("hello").await;
        }
    };
    let used = allocation_counter::measure(|| runtime.block_on(ask()));
    let bytes = used.bytes_current / FLOWS;
    println!("{bytes} bytes for each of {FLOWS} flows");
    assert_eq!(relay.status().flows as i64, FLOWS);
    assert!((500..2000).contains(&bytes), "{bytes} bytes for each flow");
}
