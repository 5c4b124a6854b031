//! One of each edge below HTTP, with traffic over sockets, and a registry of them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::service_fn;
use tower_lb::{
    Balancer, BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    geneve::{self, ApplianceTracker, Gateway, Inspector, MemoryEnd, NewFlow, Packet},
    listener::{Listener, Socket},
    observe::Registry,
    outcome::{Following, OnResponse, ResultOnly},
    strategy::{Maglev, RoundRobin},
    tcp::Relays,
    udp::{self, Exchange, Flow, UdpRelay, UdpResponder, UntilFlowEnd},
};

/// What runs until it is dropped.
pub(crate) struct Edges {
    pub(crate) registry: Registry,
    tasks: JoinSet<()>,
    _network: Option<MemoryEnd>,
}

const LOCAL: &str = "127.0.0.1:0";

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("it ends in time")
}

impl Edges {
    /// Starts all of them under one name. Each has relayed something, and dropped something.
    pub(crate) async fn start(name: &str) -> Self {
        let (registry, tasks) = (Registry::new(), JoinSet::new());
        let mut edges = Self { registry, tasks, _network: None };
        edges.tcp(name).await;
        edges.udp(name).await;
        edges.geneve(name).await;
        edges
    }

    async fn tcp(&mut self, name: &str) {
        let target = TcpListener::bind(LOCAL).await.unwrap();
        let address = target.local_addr().unwrap();
        self.tasks.spawn(async move {
            loop {
                let (mut stream, _) = target.accept().await.unwrap();
                let _ = stream.write_all(b"hello").await;
            }
        });
        let relays = Relays::builder().name(name).build().unwrap();
        self.registry.add(&relays);
        let endpoints = discover::addresses([address]).connect(relays.connector());
        let balancer = Builder::tcp().spawn(RoundRobin::new(), endpoints).unwrap();
        let socket = Socket::tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::builder().socket(socket).bind().unwrap();
        let address = listener.local_addresses()[0].tcp().unwrap();
        self.tasks.spawn(async move { _ = listener.serve_connections(balancer).await });
        for _ in 0..3 {
            let mut text = String::new();
            let mut client = TcpStream::connect(address).await.unwrap();
            client.shutdown().await.unwrap();
            soon(client.read_to_string(&mut text)).await.unwrap();
            assert_eq!(text, "hello");
        }
    }

    async fn udp(&mut self, name: &str) {
        let target = UdpSocket::bind(LOCAL).await.unwrap();
        let address = target.local_addr().unwrap();
        self.tasks.spawn(async move {
            loop {
                let (_, from) = target.recv_from(&mut [0; 16]).await.unwrap();
                let _ = target.send_to(b"reply", from).await;
            }
        });
        let targets = udp::targets(discover::addresses([address]));
        let strategy = Maglev::new(|flow: &Flow| Some(flow.hash()));
        let balancer = Balancer::builder().track(UntilFlowEnd).spawn(strategy, targets).unwrap();
        let socket = UdpSocket::bind(LOCAL).await.unwrap();
        let relay = UdpRelay::builder().name(name).build(socket, balancer).unwrap();
        self.registry.add(&relay);
        let relayed = relay.local_address();
        self.tasks.spawn(async move { _ = relay.serve(std::future::pending()).await });

        let servers = discover::addresses([address]).connect(|&address| Exchange::new(address));
        let tracker = Following::new(OnResponse::new(ResultOnly));
        let balancer =
            Balancer::builder().track(tracker).spawn(RoundRobin::new(), servers).unwrap();
        let socket = UdpSocket::bind(LOCAL).await.unwrap();
        let responder = UdpResponder::builder().name(name).build(socket, balancer).unwrap();
        self.registry.add(&responder);
        let responding = responder.local_address();
        self.tasks.spawn(async move { _ = responder.serve(std::future::pending()).await });
        for address in [relayed, responding] {
            ask(address).await;
        }
    }

    async fn geneve(&mut self, name: &str) {
        let all = service_fn(|packet: Packet| async move { Ok::<_, BoxError>(Some(packet)) });
        let socket = UdpSocket::bind(LOCAL).await.unwrap();
        let appliance = socket.local_addr().unwrap();
        let inspector = Inspector::builder().name(name).build(socket, all);
        self.registry.add(&inspector);
        self.tasks.spawn(async move { _ = inspector.await });
        let endpoints = geneve::appliances(discover::addresses([appliance]));
        let builder = Balancer::builder().track(ApplianceTracker);
        let balancer = builder.spawn(Maglev::new(NewFlow::hash), endpoints).unwrap();
        while balancer.status().endpoints.is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        let (end, mut network) = geneve::memory_ends(64);
        let socket = UdpSocket::bind(LOCAL).await.unwrap();
        let gateway = Gateway::builder().name(name).build(end, socket, balancer).unwrap();
        self.registry.add(&gateway);
        self.tasks.spawn(async move { _ = gateway.await });
        network.send("no IP packet".into());
        network.send(PING.to_vec().into());
        assert_eq!(soon(network.recv()).await.as_deref(), Some(&PING[..]));
        self._network = Some(network);
    }
}

/// Sends an empty datagram, which is dropped, and one that is replied to.
async fn ask(address: SocketAddr) {
    let client = UdpSocket::bind(LOCAL).await.unwrap();
    client.connect(address).await.unwrap();
    client.send(b"").await.unwrap();
    client.send(b"request").await.unwrap();
    let mut reply = [0; 16];
    let length = soon(client.recv(&mut reply)).await.unwrap();
    assert_eq!(&reply[..length], b"reply");
}

/// An ICMP request from 10.0.0.1 to 10.0.9.9.
#[rustfmt::skip]
const PING: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0x1d, 0xd6, 10, 0, 0, 1, 10, 0, 9, 9,
    8, 0, 0xf7, 0xfd, 0, 1, 0, 1,
];
