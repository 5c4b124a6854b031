//! One request, one reply.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::UdpSocket,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::Layer;
use tower_lb::{
    Balancer,
    discover::{self, DiscoverExt},
    outcome::{Following, OnResponse, ResultOnly},
    retry::{RetryFailures, RetryLayer},
    strategy::RoundRobin,
    udp::{Exchange, UdpResponder, UdpResponderBuilder, UdpResponderHandle, UdpResponderStatus},
};

use crate::peers::{Client, Echo, SOON, WHILE};

pub(crate) struct Responding {
    pub(crate) address: SocketAddr,
    pub(crate) balancer: Balancer<Exchange, RoundRobin, Following<OnResponse>>,
    handle: UdpResponderHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Responding {
    pub(crate) async fn start(
        builder: UdpResponderBuilder,
        addresses: impl IntoIterator<Item = SocketAddr>,
        exchange: impl Fn(SocketAddr) -> Exchange + Send + 'static,
    ) -> Self {
        let servers = discover::addresses(addresses).connect(move |&address| exchange(address));
        let tracker = Following::new(OnResponse::new(ResultOnly));
        let balancer = Balancer::builder().track(tracker);
        let balancer = balancer.spawn(RoundRobin::new(), servers).unwrap();
        let retry = RetryLayer::builder(RetryFailures::default()).build().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let responder = builder.build(socket, retry.layer(balancer.clone())).unwrap();
        let (address, handle) = (responder.local_address(), responder.handle());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(responder.serve(async {
            let _ = stopped.await;
        }));
        Self { address, balancer, handle, stop, task }
    }

    pub(crate) fn handle(&self) -> &UdpResponderHandle {
        &self.handle
    }

    pub(crate) fn status(&self) -> UdpResponderStatus {
        self.handle.status()
    }

    async fn until(&self, what: &str, is: impl Fn(&UdpResponderStatus) -> bool) {
        let end = Instant::now() + SOON;
        while !is(&self.status()) {
            assert!(Instant::now() < end, "not {what}: {:?}", self.status());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(self) -> UdpResponderStatus {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
        self.handle.status()
    }
}

fn exchange(address: SocketAddr) -> Exchange {
    Exchange::new(address).timeout(Duration::from_millis(100))
}

#[tokio::test]
async fn each_datagram_is_a_request() {
    let (first, second) = (Echo::start().await, Echo::start().await);
    let targets = [first.address, second.address];
    let responding = Responding::start(UdpResponder::builder(), targets, exchange).await;
    let client = Client::of(responding.address).await;
    let mut counts = [0; 2];
    for number in 0..10 {
        let target = client.ask(&number.to_string()).await;
        counts[usize::from(target == second.address)] += 1;
    }
    assert_eq!(counts, [5, 5], "in turn");
    let status = responding.stop().await;
    assert_eq!((status.datagrams_in, status.datagrams_out, status.in_flight), (10, 10, 0));
}

#[tokio::test]
async fn a_request_without_a_reply_goes_to_another_endpoint() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = Echo::start().await;
    let (refusing, echo) = (dead.address, Echo::start().await);
    dead.kill().await;
    let targets = [silent.local_addr().unwrap(), refusing, echo.address];
    let responding = Responding::start(UdpResponder::builder(), targets, exchange).await;
    let client = Client::of(responding.address).await;
    for number in 0..6 {
        assert_eq!(client.ask(&number.to_string()).await, echo.address);
    }
    let status = responding.balancer.status();
    let outcomes = |address: SocketAddr| {
        let name = address.to_string();
        status.endpoints.iter().find(|endpoint| *endpoint.name == *name).unwrap().outcomes
    };
    assert!(outcomes(targets[0]).timeout > 0, "{:?}", outcomes(targets[0]));
    assert!(outcomes(refusing).transport > 0, "{:?}", outcomes(refusing));
    assert_eq!(outcomes(echo.address).success, 6);
}

#[tokio::test]
async fn a_request_that_no_endpoint_answers_is_counted() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = silent.local_addr().unwrap();
    let responding = Responding::start(UdpResponder::builder(), [target], exchange).await;
    let client = Client::of(responding.address).await;
    client.send("hello").await;
    responding.until("given up", |status| status.dropped.timeout == 1).await;
    // The limit of all attempts together is shorter than that of one.
    let builder = UdpResponder::builder().timeout(Duration::from_millis(50));
    let responding = Responding::start(builder, [target], exchange).await;
    let client = Client::of(responding.address).await;
    client.send("hello").await;
    responding.until("given up", |status| status.dropped.timeout == 1).await;
    let status = responding.balancer.status();
    let outcomes = status.endpoints[0].outcomes;
    assert_eq!((outcomes.timeout, outcomes.cancelled, outcomes.total()), (0, 1, 1));
    assert_eq!(responding.stop().await.in_flight, 0);
}

#[tokio::test]
async fn requests_are_bounded_for_each_client() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = silent.local_addr().unwrap();
    let builder = UdpResponder::builder().max_in_flight(20).source_share(0.5);
    let slow = |address| Exchange::new(address).timeout(Duration::from_secs(60));
    let responding = Responding::start(builder, [target], slow).await;
    let client = Client::of(responding.address).await;
    for number in 0..100_u8 {
        client.send([number]).await;
    }
    responding.until("bounded", |status| status.datagrams_in == 100).await;
    let status = responding.status();
    assert_eq!((status.in_flight, status.dropped.displaced), (10, 90), "{status}");
    assert_eq!(responding.balancer.status().endpoints[0].outstanding, 10);
}

#[tokio::test]
async fn a_reply_that_is_too_long_is_dropped_and_not_cut_off() {
    let Ok(server) = UdpSocket::bind("[::1]:0").await else {
        return println!("skipped: this host has no IPv6");
    };
    let target = server.local_addr().unwrap();
    let builder = UdpResponder::builder();
    let slow = |address| Exchange::new(address).timeout(SOON);
    let responding = Responding::start(builder, [target], slow).await;
    let client = Client::of(responding.address).await;
    for len in [65_507, 65_508, 65_527] {
        client.send("hello").await;
        let mut buffer = [0; 8];
        let (_, from) = server.recv_from(&mut buffer).await.unwrap();
        server.send_to(&vec![7; len], from).await.unwrap();
        if len == 65_507 {
            assert_eq!(client.receive(SOON).await.unwrap().len(), len);
        }
    }
    responding.until("dropped", |status| status.dropped.too_large == 2).await;
    assert_eq!(responding.status().datagrams_out, 1);
}

#[tokio::test]
async fn a_forged_reply_is_ignored() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = server.local_addr().unwrap();
    let responding = Responding::start(UdpResponder::builder(), [target], Exchange::dns).await;
    let client = Client::of(responding.address).await;
    let query = [7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    client.send(query).await;
    let mut buffer = [0; 512];
    let (len, from) = server.recv_from(&mut buffer).await.unwrap();
    // From another port: the kernel drops it.
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut reply = buffer[..len].to_vec();
    reply[2] |= 0x80;
    forger.send_to(&reply, from).await.unwrap();
    // With another id, from the right port.
    reply[0] ^= 1;
    server.send_to(&reply, from).await.unwrap();
    assert_eq!(client.receive(WHILE).await, None);
    reply[0] ^= 1;
    server.send_to(&reply, from).await.unwrap();
    assert_eq!(client.receive(SOON).await, Some(reply));
}

#[tokio::test]
async fn a_responder_does_not_send_to_itself() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let servers = discover::addresses([address]).connect(|&address| Exchange::new(address));
    let tracker = Following::new(OnResponse::new(ResultOnly));
    let balancer = Balancer::builder().track(tracker).spawn(RoundRobin::new(), servers).unwrap();
    let responder = UdpResponder::builder().build(taken, balancer).unwrap();
    let handle = responder.handle();
    tokio::spawn(responder.serve(std::future::pending()));
    Client::of(address).await.send("hello").await;
    let end = Instant::now() + SOON;
    while handle.status().dropped.looping == 0 {
        assert!(Instant::now() < end, "{}", handle.status());
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(handle.status().datagrams_in, 1);
}
