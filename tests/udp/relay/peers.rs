//! Clients, targets and a running relay.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower_lb::{
    Balancer,
    discover::{Channel, Handle, channel},
    strategy::Maglev,
    udp::{
        Flow, UdpRelayBuilder, UdpRelayHandle, UdpRelayStatus, UdpTarget, UntilFlowEnd, targets,
    },
};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How long a test waits for what must not come.
pub(crate) const WHILE: Duration = Duration::from_millis(150);

/// A target that replies with its address, a space and the datagram.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Echo {
    /// Starts at an address that no client has: no other socket gets the port when it is closed.
    pub(crate) async fn start() -> Self {
        Self::at("127.0.1.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            loop {
                // Refused replies are reported here.
                let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
                let reply = [address.to_string().as_bytes(), b" ", &buffer[..len]].concat();
                let reply = &reply[..reply.len().min(65_507)];
                let _ = socket.send_to(reply, from).await;
            }
        });
        Self { address, task }
    }

    /// Closes the socket, so that the operating system refuses datagrams.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) type Strategy = Maglev<fn(&Flow) -> Option<u64>>;
pub(crate) type Endpoints = Handle<SocketAddr, SocketAddr>;
pub(crate) type Flows = Balancer<UdpTarget, Strategy, UntilFlowEnd>;

pub(crate) fn by_flow() -> Strategy {
    Maglev::new(|flow: &Flow| Some(flow.hash()))
}

/// A relay that runs, and its balancer.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) balancer: Flows,
    pub(crate) endpoints: Endpoints,
    pub(crate) handle: UdpRelayHandle,
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

impl Running {
    pub(crate) async fn start(
        builder: UdpRelayBuilder,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        Self::with(builder, addresses, by_flow()).await
    }

    pub(crate) async fn with(
        builder: UdpRelayBuilder,
        addresses: impl IntoIterator<Item = SocketAddr>,
        strategy: Strategy,
    ) -> Self {
        let (endpoints, stream): (Endpoints, Channel<_, _>) = channel();
        for address in addresses {
            endpoints.insert(address, address).unwrap();
        }
        let balancer = Balancer::builder().track(UntilFlowEnd);
        let balancer = balancer.spawn(strategy, targets(stream)).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let relay = builder.build(socket, balancer.clone()).unwrap();
        let (address, handle) = (relay.local_address(), relay.handle());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(relay.serve(async {
            let _ = stopped.await;
        }));
        Self { address, balancer, endpoints, handle, stop, task }
    }

    pub(crate) fn status(&self) -> UdpRelayStatus {
        self.handle.status()
    }

    /// Waits until the status is as it should be.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&UdpRelayStatus) -> bool) {
        let end = Instant::now() + SOON;
        while !is(&self.status()) {
            assert!(Instant::now() < end, "not {what}: {:?}", self.status());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn outstanding(&self) -> u32 {
        self.balancer.status().endpoints.iter().map(|endpoint| endpoint.outstanding).sum()
    }

    pub(crate) async fn stop(self) -> UdpRelayStatus {
        let _ = self.stop.send(());
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
        self.handle.status()
    }
}

/// A client port that sends to one address.
pub(crate) struct Client(pub(crate) UdpSocket);

impl Client {
    pub(crate) async fn of(server: SocketAddr) -> Self {
        Self::from([127, 0, 0, 1].into(), server).await
    }

    pub(crate) async fn from(source: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    pub(crate) async fn send(&self, datagram: impl AsRef<[u8]>) {
        self.0.send(datagram.as_ref()).await.unwrap();
    }

    /// Receives within the time, if anything comes.
    pub(crate) async fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let len = timeout(within, self.0.recv(&mut buffer)).await.ok()?.unwrap();
        buffer.truncate(len);
        Some(buffer)
    }

    /// Sends, and returns the address of the target that replied.
    pub(crate) async fn ask(&self, datagram: &str) -> SocketAddr {
        self.send(datagram).await;
        let reply = self.receive(SOON).await.expect("no reply");
        let reply = String::from_utf8(reply).unwrap();
        let (target, echoed) = reply.split_once(' ').unwrap();
        assert_eq!(echoed, datagram);
        target.parse().unwrap()
    }

    /// Sends until a reply comes, as clients of UDP do.
    pub(crate) async fn ask_again(&self, datagram: &str) -> SocketAddr {
        let end = Instant::now() + SOON;
        loop {
            self.send(datagram).await;
            if let Some(reply) = self.receive(Duration::from_millis(50)).await {
                let reply = String::from_utf8(reply).unwrap();
                return reply.split_once(' ').unwrap().0.parse().unwrap();
            }
            assert!(Instant::now() < end, "no reply");
        }
    }
}
