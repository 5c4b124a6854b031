use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{net::UdpSocket, task::coop::unconstrained, time::Instant};
use tower_service::Service;

use super::{
    UdpRelayBuilder,
    flows::Flows,
    session::{Session, SessionKey},
};
use crate::{
    BoxError,
    flow::FlowTable,
    named::weak_status,
    timer::Timer,
    udp::{
        Flow, OpenFlow, UdpRelayStatus,
        receive::{Buffer, Received},
        status::Counters,
    },
};

/// Relays datagrams between clients and the endpoints of a balancer.
///
/// The datagrams from one client address and port are a [`Flow`]. Its first one asks the service,
/// mostly a balancer, for an endpoint; later ones go to the same endpoint, through a socket of the
/// flow. What comes back on that socket goes to the client. A flow ends when it has been idle for
/// the [idle timeout](UdpRelayBuilder::idle_timeout), or when the table needs room and it had no
/// reply. What happens if it loses its endpoint is [configured](super::TargetLoss).
///
/// [`serve`](Self::serve) is a future that does all the work, in the task that polls it. Several
/// relays with sockets on the same port (`SO_REUSEPORT`) use several cores.
///
/// **Bounds.** Flows, and so sockets, are bounded in total and for each client. A flow keeps at
/// most one datagram, and only while its endpoint is picked: the latest. No datagram waits for a
/// full socket; it is dropped and [counted](UdpRelayStatus::dropped).
pub struct UdpRelay<S> {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    buffer: Buffer,
    flows: Flows<S>,
    timer: Timer,
    /// When the remaining flows are cut off; `None` until the relay stops.
    stop_at: Option<Instant>,
}

/// Reads the status of a [`UdpRelay`].
#[derive(Clone, Debug)]
pub struct UdpRelayHandle {
    counters: Arc<Counters>,
    local: SocketAddr,
}

impl UdpRelay<()> {
    /// Returns the settings of a relay, all at their defaults.
    #[must_use]
    pub fn builder() -> UdpRelayBuilder {
        UdpRelayBuilder::default()
    }
}

impl<S> UdpRelay<S> {
    pub(super) fn new(
        builder: UdpRelayBuilder,
        (socket, local): (UdpSocket, SocketAddr),
        service: S,
        table: FlowTable<Session, SessionKey>,
    ) -> Self {
        let UdpRelayBuilder { name, settings, .. } = builder;
        let (socket, counters) = (Arc::new(socket), Arc::new(Counters::new(name)));
        let replies = Arc::clone(&socket);
        Self {
            socket,
            local,
            buffer: Buffer::new(),
            flows: Flows::new(service, (replies, local), table, settings, counters),
            timer: Timer::default(),
            stop_at: None,
        }
    }

    /// Returns the address that the relay receives on.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns a handle, which is of use while the relay serves.
    #[must_use]
    pub fn handle(&self) -> UdpRelayHandle {
        UdpRelayHandle { counters: Arc::clone(self.flows.counters()), local: self.local }
    }
}

impl<S> UdpRelay<S>
where
    S: Service<Flow, Response = OpenFlow, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
{
    /// Relays datagrams until `stop` is ready. Flows then go on for the
    /// [drain timeout](UdpRelayBuilder::drain_timeout), or until none is left.
    ///
    /// # Errors
    ///
    /// If receiving on the socket fails. Errors of single datagrams and flows are counted instead.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut stop = pin!(stop);
        // Each poll is bounded. tokio's budget is one for all sockets: a few busy flows would use
        // it up, and the others and the clients' socket would get nothing.
        unconstrained(poll_fn(|cx| self.poll_serve(cx, stop.as_mut()))).await
    }

    fn poll_serve(
        &mut self,
        cx: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        if self.stop_at.is_none() && stop.poll(cx).is_ready() {
            self.stop_at = Some(self.flows.stop(now));
        }
        let expiring = self.flows.expire(now);
        let polling = self.flows.poll_woken(cx, now);
        let handle = |received: Received<'_>| self.flows.received(received, now);
        let receiving = self.buffer.receive(&self.socket, cx, handle)?;
        if self.stop_at.is_some_and(|at| self.flows.is_empty() || now >= at) {
            return Poll::Ready(Ok(()));
        }
        let due = [self.flows.next_expiry(), self.stop_at].into_iter().flatten().min();
        if expiring || polling || receiving || self.timer.is_due(due, cx) {
            // Other tasks get a turn first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl UdpRelayHandle {
    /// Returns what the relay has done so far.
    #[must_use]
    pub fn status(&self) -> UdpRelayStatus {
        self.counters.relay_status()
    }

    /// Returns a function that reads the status until the relay and its handles are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<UdpRelayStatus> + Send + Sync + use<> {
        weak_status(&self.counters, Counters::relay_status)
    }

    /// Returns the address of what all handles of the relay share.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.counters).cast()
    }

    /// Returns the address that the relay receives on.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl<S> fmt::Debug for UdpRelay<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpRelay")
            .field("local", &self.local)
            .field("status", &self.flows.counters().relay_status())
            .finish_non_exhaustive()
    }
}
