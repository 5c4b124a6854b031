//! A gateway between a network in memory and appliances that the tests play.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use etherparse::{PacketBuilder, TcpHeader, TcpHeaderSlice};
use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower_lb::{
    Balancer, Endpoint,
    discover::{self, Handle},
    endpoint::Health,
    geneve::{
        self, Appliance, ApplianceTracker, Gateway, GatewayBuilder, GatewayMonitor, GatewayStatus,
        Header, MemoryEnd, NewFlow, Packet,
    },
    strategy::{Maglev, Panic},
};

pub(crate) const CLIENT: &str = "10.0.0.1:40000";
pub(crate) const SERVER: &str = "10.0.9.9:443";

/// The longest time that a test waits for a packet that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time after which a packet that must not come has not come.
const QUIET: Duration = Duration::from_millis(100);

pub(crate) struct Rig {
    pub(crate) network: MemoryEnd,
    pub(crate) appliances: Vec<Played>,
    pub(crate) gateway: SocketAddr,
    pub(crate) monitor: GatewayMonitor,
    pub(crate) balancer:
        Balancer<Appliance, Panic<Maglev<fn(&NewFlow) -> Option<u64>>>, ApplianceTracker>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
    endpoints: Handle<usize, SocketAddr>,
}

/// An appliance that does what a test says.
pub(crate) struct Played {
    pub(crate) socket: UdpSocket,
}

/// A packet that has come to an appliance.
pub(crate) struct Delivered {
    pub(crate) header: Header,
    pub(crate) packet: Packet,
    pub(crate) from: SocketAddr,
}

impl Rig {
    /// Starts a gateway before some appliances. Flows are spread by hash, and go to any appliance
    /// while none is healthy.
    pub(crate) async fn start(settings: GatewayBuilder, appliances: usize) -> Self {
        Self::bound("127.0.0.1:0", settings, appliances).await
    }

    /// Starts it with a socket of this address.
    pub(crate) async fn bound(bind: &str, settings: GatewayBuilder, appliances: usize) -> Self {
        let (endpoints, stream) = discover::channel();
        let hash: fn(&NewFlow) -> Option<u64> = NewFlow::hash;
        let strategy = Panic::new(Maglev::new(hash)).below_share(0.0).unwrap();
        let strategy = strategy.below_count(1).unwrap();
        let balancer = Balancer::builder()
            .track(ApplianceTracker)
            .spawn(strategy, geneve::appliances(stream))
            .unwrap();
        let (end, network) = geneve::memory_ends(1024);
        let socket = UdpSocket::bind(bind).await.unwrap();
        let address = socket.local_addr().unwrap();
        let gateway = settings.build(end, socket, balancer.clone()).unwrap();
        let (monitor, task) = (gateway.monitor(), tokio::spawn(gateway));
        let mut rig = Self {
            network,
            appliances: Vec::new(),
            gateway: address,
            monitor,
            balancer,
            task,
            endpoints,
        };
        for number in 0..appliances {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            rig.appliances.push(Played { socket });
            rig.set_health(number, Health::Healthy).await;
        }
        rig
    }

    pub(crate) async fn with(appliances: usize) -> Self {
        Self::start(Gateway::builder(), appliances).await
    }

    /// Changes the health of an appliance, and waits until the balancer knows.
    pub(crate) async fn set_health(&self, number: usize, health: Health) {
        let endpoint = Endpoint::new(self.appliances[number].address()).with_health(health.clone());
        self.endpoints.insert(number, endpoint).unwrap();
        self.until(|status| {
            let mut endpoints = status.endpoints.iter();
            endpoints
                .any(|one| *one.name == *number.to_string() && *one.attributes.health() == health)
        })
        .await;
    }

    pub(crate) async fn remove(&self, number: usize) {
        self.endpoints.remove(number).unwrap();
        let name = number.to_string();
        self.until(|status| status.endpoints.iter().all(|one| *one.name != *name)).await;
    }

    /// Replaces all appliances by one.
    pub(crate) async fn keep_only(&self, number: usize) {
        self.endpoints.reset([(number, self.appliances[number].address())]).unwrap();
        self.until(|status| status.endpoints.len() == 1).await;
    }

    async fn until(&self, is_so: impl Fn(&tower_lb::balance::Status) -> bool) {
        while !is_so(&self.balancer.status()) {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends a packet from the network into the gateway.
    pub(crate) fn enter(&self, packet: impl Into<Bytes>) {
        assert_eq!(self.network.send(packet.into()), geneve::Written::Taken);
    }

    /// Sends a packet, and returns the number of the appliance that gets it.
    pub(crate) async fn deliver(&self, packet: impl Into<Bytes>) -> (usize, Delivered) {
        self.enter(packet);
        self.delivered().await
    }

    pub(crate) async fn delivered(&self) -> (usize, Delivered) {
        let each = self.appliances.iter().map(|one| Box::pin(one.receive()));
        let first = timeout(PATIENCE, futures::future::select_all(each)).await;
        let (delivered, number, _) = first.expect("an appliance gets the packet");
        (number, delivered)
    }

    /// Sends a packet through its appliance, and returns what comes out of the gateway.
    pub(crate) async fn pass(&mut self, packet: impl Into<Bytes>) -> (usize, Bytes) {
        let (number, delivered) = self.deliver(packet).await;
        self.appliances[number].give_back(&delivered).await;
        (number, self.leave().await)
    }

    /// Returns the next packet that comes out of the gateway.
    pub(crate) async fn leave(&mut self) -> Bytes {
        let left = timeout(PATIENCE, self.network.recv()).await;
        left.expect("a packet leaves the gateway").expect("the gateway runs")
    }

    /// Checks that no packet comes out of the gateway.
    pub(crate) async fn is_quiet(&mut self) {
        let left = timeout(QUIET, self.network.recv()).await;
        assert!(left.is_err(), "{left:?}");
    }

    /// Waits until the gateway has counted something.
    pub(crate) async fn counted(&self, is_so: impl Fn(&GatewayStatus) -> bool) -> GatewayStatus {
        let counted = async {
            loop {
                let status = self.monitor.status();
                if is_so(&status) {
                    break status;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let status = timeout(PATIENCE, counted).await;
        status.unwrap_or_else(|_| panic!("{:#?}", self.monitor.status()))
    }

    /// Returns the flows in flight at all appliances.
    pub(crate) fn in_flight(&self) -> u32 {
        self.balancer.status().endpoints.iter().map(|endpoint| endpoint.outstanding).sum()
    }
}

impl Played {
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    async fn receive(&self) -> Delivered {
        let mut bytes = vec![0; 65_535];
        let (length, from) = self.socket.recv_from(&mut bytes).await.unwrap();
        bytes.truncate(length);
        let (header, packet) = geneve::decode(bytes.into()).unwrap();
        Delivered { header, packet, from }
    }

    /// Returns a packet as it came.
    pub(crate) async fn give_back(&self, delivered: &Delivered) {
        self.answer(delivered, delivered.packet.as_bytes()).await;
    }

    /// Returns another packet in the header of one that came.
    pub(crate) async fn answer(&self, delivered: &Delivered, packet: &[u8]) {
        let datagram = [delivered.header.as_bytes(), packet].concat();
        self.socket.send_to(&datagram, delivered.from).await.unwrap();
    }
}

fn ends(source: &str, destination: &str) -> (SocketAddr, SocketAddr) {
    (source.parse().unwrap(), destination.parse().unwrap())
}

/// Builds the IP header, and what follows by a function of it.
macro_rules! packet {
    ($source:expr, $destination:expr, $payload:expr, |$ip:ident, $from:ident, $to:ident| $rest:expr) => {{
        let ($from, $to) = ends($source, $destination);
        let $ip = match ($from.ip(), $to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                PacketBuilder::ipv6(from.octets(), to.octets(), 64)
            }
            _ => panic!("two families"),
        };
        let mut bytes = Vec::new();
        $rest.write(&mut bytes, $payload).unwrap();
        bytes
    }};
}

pub(crate) fn udp(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    packet!(source, destination, payload, |ip, from, to| ip.udp(from.port(), to.port()))
}

pub(crate) fn ping(source: &str, destination: &str) -> Vec<u8> {
    echo(source, destination, b"ping")
}

/// Builds an ICMP request. The ports of the ends do not matter.
pub(crate) fn echo(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    packet!(source, destination, payload, |ip, _from, _to| ip.icmpv4_echo_request(7, 1))
}

/// Builds a TCP segment; the function sets flags and numbers.
pub(crate) fn tcp(
    source: &str,
    destination: &str,
    payload: &[u8],
    set: impl FnOnce(&mut TcpHeader),
) -> Vec<u8> {
    packet!(source, destination, payload, |ip, from, to| {
        let mut header = TcpHeader::new(from.port(), to.port(), 1000, 8192);
        set(&mut header);
        ip.tcp_header(header)
    })
}

pub(crate) fn syn(source: &str, destination: &str) -> Vec<u8> {
    tcp(source, destination, &[], |header| header.syn = true)
}

/// The answer to [`syn`].
pub(crate) fn syn_ack(source: &str, destination: &str) -> Vec<u8> {
    tcp(source, destination, &[], |header| {
        (header.syn, header.ack) = (true, true);
        (header.sequence_number, header.acknowledgment_number) = (5000, 1001);
    })
}

/// Data after [`syn`] and [`syn_ack`].
pub(crate) fn data(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    tcp(source, destination, payload, |header| {
        header.ack = true;
        (header.sequence_number, header.acknowledgment_number) = (1001, 5001);
    })
}

/// What a reset says: its ends, its sequence number and, if it has one, its acknowledgment.
pub(crate) fn read_reset(bytes: Bytes) -> (String, u32, Option<u32>) {
    let packet = Packet::parse(bytes.clone()).unwrap();
    let segment = &bytes[bytes.len() - 20..];
    let header = TcpHeaderSlice::from_slice(segment).unwrap();
    assert!(header.rst() && !header.syn() && !header.fin() && header.window_size() == 0);
    let checksum = match (packet.source(), packet.destination()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), &[])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), &[])
        }
        _ => unreachable!(),
    };
    assert_eq!(header.checksum(), checksum.unwrap());
    let acknowledgment = header.ack().then(|| header.acknowledgment_number());
    (packet.to_string(), header.sequence_number(), acknowledgment)
}

/// Reads two resets in the order of their text.
pub(crate) async fn two_resets(rig: &mut Rig) -> [(String, u32, Option<u32>); 2] {
    let mut resets = [read_reset(rig.leave().await), read_reset(rig.leave().await)];
    resets.sort();
    resets
}
