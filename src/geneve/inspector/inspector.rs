use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream::FuturesUnordered};
use tokio::net::UdpSocket;
use tower_service::Service;

use super::{
    InspectorBuilder, InspectorMonitor,
    inspection::{Decided, Inspection, Origin},
    status::{Counters, DropReason},
};
use crate::{
    BoxError,
    geneve::{Packet, datagrams, decode},
};

/// A future that receives packets from a Gateway Load Balancer, asks a service about each, and
/// returns those that it lets pass: a firewall or an inspector is a service.
///
/// The service returns the packet, unchanged or changed, or `None` to drop it. It sees the packets
/// of both directions of a flow. A changed packet must keep addresses and ports, because the
/// balancer finds its flow by them, and its checksums must be right. A packet is returned in the
/// header in which it came, to the address from which it came.
///
/// It answers every sender that knows the protocol: let only the balancer reach the socket. It is
/// polled by the task that owns it and spawns nothing. It ends only with the error of the service's
/// `poll_ready`.
///
/// ```no_run
/// use std::convert::Infallible;
/// use tokio::net::UdpSocket;
/// use tower::service_fn;
/// use tower_lb::geneve::{Inspector, PORT, Packet};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let blocked: std::net::IpAddr = "192.0.2.66".parse()?;
/// let firewall = service_fn(move |packet: Packet| async move {
///     let is_blocked = packet.source() == blocked || packet.destination() == blocked;
///     Ok::<_, Infallible>((!is_blocked).then_some(packet))
/// });
/// let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
/// Inspector::builder().build(socket, firewall).await?;
/// # Ok(())
/// # }
/// ```
pub struct Inspector<S, F> {
    settings: InspectorBuilder,
    socket: UdpSocket,
    service: S,
    in_flight: FuturesUnordered<Inspection<F>>,
    buffer: BytesMut,
    counters: Arc<Counters>,
}

/// The packets that one poll handles. Other tasks of the runtime then have a turn.
const MAX_PACKETS_PER_POLL: usize = 64;

impl Inspector<(), ()> {
    /// Returns the settings of an inspector, all at their defaults.
    #[must_use]
    pub fn builder() -> InspectorBuilder {
        InspectorBuilder::default()
    }
}

impl<S, F> Inspector<S, F> {
    pub(super) fn new(settings: InspectorBuilder, socket: UdpSocket, service: S) -> Self {
        let (in_flight, buffer) = (FuturesUnordered::new(), BytesMut::new());
        let counters = Arc::new(Counters::new(settings.name.clone()));
        Self { settings, socket, service, in_flight, buffer, counters }
    }

    /// Returns a handle that reads the status.
    #[must_use]
    pub fn monitor(&self) -> InspectorMonitor {
        InspectorMonitor(Arc::clone(&self.counters))
    }
}

impl<S, F> Inspector<S, F>
where
    S: Service<Packet, Response = Option<Packet>, Future = F>,
    F: Future<Output = Result<Option<Packet>, S::Error>>,
{
    /// Returns the packets about which the service has decided.
    fn finish(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(decided)) = Pin::new(&mut self.in_flight).poll_next(cx) {
            match self.answer(decided) {
                Ok(()) => self.counters.returned(),
                Err(reason) => self.counters.dropped(reason),
            }
        }
    }

    fn answer(&self, Decided { decision, origin }: Decided<S::Error>) -> Result<(), DropReason> {
        let packet = decision.map_err(|_| DropReason::Failed)?.ok_or(DropReason::Rejected)?;
        let Some(Origin { header, mut from }) = origin else { return Err(DropReason::Failed) };
        if packet.ether_type() != header.protocol() {
            return Err(DropReason::OtherVersion);
        }
        if let Some(port) = self.settings.reply_port {
            from.set_port(port);
        }
        let sent = datagrams::send(&self.socket, header.as_bytes(), packet.as_bytes(), from);
        sent.map(|_| ()).map_err(|_| DropReason::NotSent)
    }

    fn receive(&mut self, received: std::io::Result<(Bytes, SocketAddr)>) {
        let Ok((datagram, from)) = received else {
            return self.counters.dropped(DropReason::NotReceived);
        };
        self.counters.received();
        match decode(datagram) {
            Ok((header, packet)) => {
                let origin = Origin { header, from };
                self.in_flight.push(Inspection::new(self.service.call(packet), origin));
            }
            Err(error) => self.counters.dropped(error.into()),
        }
    }

    fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<Result<Infallible, S::Error>> {
        for _ in 0..MAX_PACKETS_PER_POLL {
            self.finish(cx);
            if self.in_flight.len() >= self.settings.max_in_flight.get() {
                // The packets in flight wake the task.
                return Poll::Pending;
            }
            ready!(self.service.poll_ready(cx))?;
            let received = ready!(datagrams::poll_datagram(&self.socket, &mut self.buffer, cx));
            self.receive(received);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, F> Future for Inspector<S, F>
where
    S: Service<Packet, Response = Option<Packet>, Error: Into<BoxError>, Future = F> + Unpin,
    F: Future<Output = Result<Option<Packet>, S::Error>>,
{
    type Output = Result<Infallible, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_packets(cx).map_err(Into::into)
    }
}

impl<S, F> fmt::Debug for Inspector<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.monitor().status();
        f.debug_struct("Inspector").field("status", &status).finish_non_exhaustive()
    }
}
