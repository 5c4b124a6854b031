//! A load balancer that serves.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower_lb::{
    clb::{
        ClassicHandle, ClassicHealthCheck, ClassicListener, ClassicLoadBalancer,
        ClassicLoadBalancerBuilder, ClassicProtocol, InstanceState,
    },
    discover,
    endpoint::Health,
    listener::Drained,
};

use crate::{instance::Instance, target::assert_reset};

/// Its future is dropped with it, and so are all of its connections.
pub(crate) struct Clb {
    pub(crate) handle: ClassicHandle,
    pub(crate) addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Drained>,
}

pub(crate) fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(crate) fn listener(protocol: ClassicProtocol, port: u16) -> ClassicListener {
    ClassicListener::new(protocol, anywhere(), port)
}

/// A check four times a second, of which one passed check is enough. It takes several failures, so
/// that a busy machine takes no instance out of service.
pub(crate) fn quick(target: &str) -> ClassicHealthCheck {
    ClassicHealthCheck::new(target.parse().unwrap())
        .interval(Duration::from_millis(250))
        .timeout(Duration::from_millis(240))
        .healthy_threshold(1)
        .unhealthy_threshold(3)
}

/// The settings of a load balancer in front of instances that share a port.
pub(crate) fn before(instances: &[&Instance]) -> ClassicLoadBalancerBuilder {
    let port = instances[0].port();
    let addresses: Vec<IpAddr> = instances.iter().map(|instance| instance.ip()).collect();
    ClassicLoadBalancer::builder("test")
        .instances(discover::addresses(addresses))
        .health_check(quick(&format!("TCP:{port}")))
        .unrestricted()
}

impl Clb {
    pub(crate) fn serve(builder: ClassicLoadBalancerBuilder) -> Self {
        let balancer = builder.bind().unwrap();
        let (handle, addresses) = (balancer.handle(), balancer.local_addresses());
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(balancer.serve(stopped, Duration::from_secs(5)));
        Self { handle, addresses, stop: Some(stop), task }
    }

    /// Serves, and waits until `instances` are in service.
    pub(crate) async fn ready(builder: ClassicLoadBalancerBuilder, instances: usize) -> Self {
        let clb = Self::serve(builder);
        clb.until_in_service(instances).await;
        clb
    }

    pub(crate) async fn until_in_service(&self, instances: usize) {
        until("instances are in service", || {
            let status = self.handle.status();
            let in_service = |health: &Health| *health == Health::Healthy;
            let listeners = status.listeners.iter().all(|listener| {
                let counts = listener.instances.iter();
                counts.filter(|instance| in_service(&instance.health)).count() == instances
            });
            let checked = status.instances.iter();
            listeners
                && checked.filter(|one| one.state == InstanceState::InService).count() == instances
        })
        .await;
    }

    pub(crate) async fn connect(&self, listener: usize) -> TcpStream {
        soon(TcpStream::connect(self.addresses[listener])).await.unwrap()
    }

    /// Asserts that a listener resets a new connection, which may be faster than the end of
    /// `connect`.
    pub(crate) async fn assert_refused(&self, listener: usize) {
        if let Ok(mut client) = soon(TcpStream::connect(self.addresses[listener])).await {
            soon(assert_reset(&mut client)).await;
        }
    }

    /// Returns the response to a `GET` on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.get_from(0, path, "").await
    }

    /// The same from another listener, with more header lines.
    pub(crate) async fn get_from(&self, listener: usize, path: &str, lines: &str) -> String {
        let mut stream = self.connect(listener).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\n{lines}Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        soon(stream.read_to_string(&mut text)).await.unwrap();
        text
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn ended(mut self) -> Drained {
        self.stop();
        soon(&mut self.task).await.unwrap()
    }
}

impl Drop for Clb {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.expect("within 10 s")
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn status(response: &str) -> u16 {
    response[9..12].parse().unwrap()
}
