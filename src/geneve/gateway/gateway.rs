use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{net::UdpSocket, time::Instant};
use tower_service::Service;

use super::{
    GatewayBuilder, GatewayMonitor,
    router::{Outgoing, Router},
    status::{Counters, DropReason},
};
use crate::{
    geneve::{Assigned, NewFlow, PacketEnd, Written, datagrams},
    timer::Timer,
};

/// A future that sends the packets of a network through appliances, each flow through one of them.
///
/// A packet from the [`PacketEnd`] goes to the appliance of its flow, in a GENEVE header over UDP.
/// A packet that comes back from that appliance goes back to the end, and the network brings it to
/// its destination. Both directions of a flow pass the same appliance.
///
/// The balancer picks the appliance of each new flow. Whether flows are spread by hash, in turn or
/// by load, and what happens while all appliances are unhealthy, is up to its strategy.
///
/// It is polled by the task that owns it, spawns nothing, and waits for nothing but packets and
/// timers: a packet that cannot be sent on at once is dropped and counted. It ends when the network
/// is gone, or with the error of reading from it.
pub struct Gateway<E, B> {
    end: E,
    socket: UdpSocket,
    is_ipv6: bool,
    router: Router<B>,
    buffer: BytesMut,
    timer: Timer,
}

/// The packets of each direction that one poll handles. Other tasks of the runtime then have a
/// turn.
const MAX_PACKETS_PER_POLL: usize = 64;

impl Gateway<(), ()> {
    /// Returns the settings of a gateway, all at their defaults.
    #[must_use]
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }
}

impl<E, B> Gateway<E, B> {
    pub(super) fn new(end: E, socket: UdpSocket, mut router: Router<B>) -> Self {
        let own_address = socket.local_addr().ok();
        router.set_own_address(own_address);
        let is_ipv6 = own_address.is_some_and(|own| own.is_ipv6());
        Self { end, socket, is_ipv6, router, buffer: BytesMut::new(), timer: Timer::default() }
    }

    /// Returns a handle that reads the status.
    #[must_use]
    pub fn monitor(&self) -> GatewayMonitor {
        GatewayMonitor(Arc::clone(&self.router.counters))
    }

    fn counters(&self) -> &Counters {
        &self.router.counters
    }
}

impl<E, B> Gateway<E, B>
where
    E: PacketEnd,
    B: Service<NewFlow, Response = Assigned>,
{
    /// Handles a packet from the network.
    fn enter(&mut self, packet: Bytes, now: Instant) {
        self.counters().entered(packet.len());
        match self.router.entered(packet, now) {
            Ok(outgoing) if self.send(&outgoing).is_ok() => self.counters().sent(),
            Ok(_) => self.counters().dropped(DropReason::NotSent),
            Err(reason) => self.counters().dropped(reason),
        }
        self.write_resets();
    }

    /// Handles a datagram that came to the socket.
    fn leave(&mut self, datagram: Bytes, from: SocketAddr, now: Instant) {
        match self.router.returned(datagram, from, now) {
            Ok(packet) => {
                let length = packet.len();
                if self.write(packet) {
                    self.counters().passed(length);
                }
            }
            Err(reason) => self.counters().dropped(reason),
        }
    }

    /// Sends a packet to its appliance.
    fn send(&self, Outgoing { appliance, header, packet }: &Outgoing) -> io::Result<usize> {
        let to = match appliance {
            // A socket of IPv6 takes no other addresses.
            SocketAddr::V4(to) if self.is_ipv6 => {
                SocketAddr::from((to.ip().to_ipv6_mapped(), to.port()))
            }
            to => *to,
        };
        datagrams::send(&self.socket, header, packet, to)
    }

    fn write_resets(&mut self) {
        while let Some(reset) = self.router.next_reset() {
            if self.write(reset) {
                self.counters().reset();
            }
        }
    }

    fn write(&mut self, packet: Bytes) -> bool {
        let is_written = matches!(self.end.write(packet), Ok(Written::Taken));
        if !is_written {
            self.counters().dropped(DropReason::NotWritten);
        }
        is_written
    }

    /// Handles packets of both directions in turn, until no packet is left or other tasks
    /// must have a turn.
    fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = Instant::now();
        for _ in 0..MAX_PACKETS_PER_POLL {
            let entering = self.end.poll_read(cx)?;
            let returning = datagrams::poll_datagram(&self.socket, &mut self.buffer, cx);
            if entering.is_pending() && returning.is_pending() {
                return Poll::Pending;
            }
            match returning {
                Poll::Ready(Ok((datagram, from))) => self.leave(datagram, from, now),
                Poll::Ready(Err(_)) => self.counters().dropped(DropReason::NotReceived),
                Poll::Pending => {}
            }
            match entering {
                Poll::Ready(Some(packet)) => self.enter(packet, now),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends idle flows when it is time, and sees to it that it is polled at the next such time.
    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        while self.timer.is_due(self.router.next_expiry(), cx) {
            self.router.expire(Instant::now());
            self.write_resets();
        }
    }
}

impl<E, B> Future for Gateway<E, B>
where
    E: PacketEnd + Unpin,
    B: Service<NewFlow, Response = Assigned> + Unpin,
{
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = this.poll_packets(cx);
        this.poll_timer(cx);
        this.router.publish();
        ended
    }
}

impl<E, B> fmt::Debug for Gateway<E, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("status", &self.monitor().status()).finish_non_exhaustive()
    }
}
