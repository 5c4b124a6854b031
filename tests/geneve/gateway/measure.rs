//! What a flow and a packet cost, in memory.

use allocation_counter::measure;
use bytes::Bytes;
use tokio::net::UdpSocket;
use tower::service_fn;
use tower_lb::geneve::{self, Appliance, Assigned, Gateway, MemoryEnd, NewFlow};

use crate::rig::{SERVER, udp};

const FLOWS: u32 = 100_000;
const PACKETS: usize = 10_000;

fn packets(range: std::ops::Range<u32>) -> Vec<Bytes> {
    let client = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("10.{a}.{b}.{c}:4000")
    };
    range.map(|number| udp(&client(number), SERVER, b"payload").into()).collect()
}

/// Sends packets in portions that the end has room for.
async fn enter(network: &MemoryEnd, packets: &[Bytes]) {
    for portion in packets.chunks(32) {
        for packet in portion {
            assert_eq!(network.send(packet.clone()), geneve::Written::Taken);
        }
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

#[test]
fn flows_and_packets_take_little_memory() {
    // The gateway is on the same thread, whose allocations are counted.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (network, monitor, _sink) = runtime.block_on(async {
        // It takes what is sent, and answers nothing.
        let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let appliance = Appliance::new(sink.local_addr().unwrap());
        let balancer = service_fn(move |_: NewFlow| {
            std::future::ready(Ok::<_, std::io::Error>(Assigned::from(appliance.clone())))
        });
        let (end, network) = geneve::memory_ends(64);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway::builder().max_flows(FLOWS).build(end, socket, balancer).unwrap();
        let monitor = gateway.monitor();
        tokio::spawn(gateway);
        (network, monitor, sink)
    });
    let packets = packets(0..FLOWS);
    let opening = measure(|| runtime.block_on(enter(&network, &packets)));
    let status = monitor.status();
    assert_eq!(status.flows, u64::from(FLOWS), "{status}");
    let each = opening.bytes_current / i64::from(FLOWS);
    let began = std::time::Instant::now();
    let again = measure(|| runtime.block_on(enter(&network, &packets[..PACKETS])));
    println!("{each} bytes a flow");
    println!("{} allocations for {PACKETS} packets, {:?}", again.count_total, began.elapsed());
    assert!(each < 500, "{each} bytes a flow");
    assert!(again.count_total < PACKETS as u64 / 8, "{} allocations", again.count_total);
}
