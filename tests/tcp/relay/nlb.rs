//! A network load balancer in this process.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::Layer;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    listener::{ConnectionService, Drained, Listener, ListenerHandle, Socket},
    retry::{RetryFailures, RetryLayer},
    strategy::RoundRobin,
    tcp::{Relays, RelaysBuilder, TcpBalancer},
};

pub(crate) struct Nlb {
    pub(crate) address: SocketAddr,
    pub(crate) relays: Relays,
    pub(crate) handle: ListenerHandle,
    pub(crate) serving: JoinHandle<Drained>,
}

pub(crate) fn loopback() -> Socket {
    Socket::tcp(([127, 0, 0, 1], 0).into())
}

pub(crate) fn serve(
    socket: Socket,
    relays: &Relays,
    service: impl ConnectionService + Sync,
) -> Nlb {
    serve_within(Duration::from_secs(30), socket, relays, service)
}

pub(crate) fn serve_within(
    drain: Duration,
    socket: Socket,
    relays: &Relays,
    service: impl ConnectionService + Sync,
) -> Nlb {
    let listener = Listener::builder().socket(socket).bind().unwrap();
    let address = listener.local_addresses()[0].tcp().unwrap();
    let handle = listener.handle();
    let serving = tokio::spawn(listener.serve_connections(service).drain_limit(drain));
    Nlb { address, relays: relays.clone(), handle, serving }
}

pub(crate) type RoundRobinBalancer = TcpBalancer<RoundRobin>;

pub(crate) fn balancer(relays: &Relays, targets: &[SocketAddr]) -> RoundRobinBalancer {
    let endpoints = discover::addresses(targets.to_vec()).connect(relays.connector());
    let builder = Builder::tcp().fail_fast(Duration::from_secs(2));
    builder.spawn(RoundRobin::new(), endpoints).unwrap()
}

/// One with retries over these targets.
pub(crate) fn before(relays: RelaysBuilder, targets: &[SocketAddr]) -> Nlb {
    let relays = relays.build().unwrap();
    let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build().unwrap();
    serve(loopback(), &relays, retry.layer(balancer(&relays, targets)))
}

impl Nlb {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until all connections have ended.
    pub(crate) async fn idle(&self) {
        until("all connections have ended", || {
            self.handle.status().open == 0 && self.relays.status().open == 0
        })
        .await;
    }
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), work).await.expect("it ends in time")
}
