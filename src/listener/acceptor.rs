use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::{Either, select};
use tokio::{
    task::{JoinError, JoinSet},
    time::sleep,
};

use super::{
    LocalAddress,
    connection::{ClientStream, Connection, Io, Protocol},
    core::Core,
    socket::{BoundSocket, ListeningSocket},
    status::Refusal,
};
use crate::log_limit::LogLimit;

/// The pause after `accept` has failed for lack of file descriptors or memory: at once, the next
/// attempt would fail as well.
const PAUSE: Duration = Duration::from_millis(100);
/// How many of the connections that wait in the kernel's queue are accepted when the listener
/// stops. A queue that another process shares might never be empty.
const MAX_LAST_ACCEPTED: usize = 4096;

/// The connections of one listening socket. They end when this is dropped.
struct Acceptor<S> {
    core: Arc<Core>,
    service: S,
    connections: JoinSet<()>,
    errors_logged: LogLimit,
}

/// Accepts connections until the listener drains, and then waits for their end.
pub(super) async fn accept<S: Protocol>(bound: BoundSocket, service: S, core: Arc<Core>) {
    let mut acceptor = Acceptor {
        core: Arc::clone(&core),
        service,
        connections: JoinSet::new(),
        errors_logged: LogLimit::default(),
    };
    let mut draining = pin!(core.until_draining());
    loop {
        let next = poll_fn(|cx| acceptor.poll_next(&bound.socket, draining.as_mut(), cx));
        match next.await {
            Next::Stop => break,
            Next::Ended(ended) => report(ended),
            Next::Accepted(Ok(accepted)) => acceptor.serve(accepted, &bound),
            Next::Accepted(Err(error)) if concerns_one_connection(&error) => {}
            Next::Accepted(Err(error)) => {
                acceptor.log(&error, &bound.address);
                sleep(PAUSE).await;
            }
        }
    }
    // Those in the queue have been promised a connection: closing the socket would reset them.
    for _ in 0..MAX_LAST_ACCEPTED {
        let accepted = poll_fn(|cx| Poll::Ready(bound.socket.poll_accept(cx)));
        let Poll::Ready(Ok(accepted)) = accepted.await else { break };
        acceptor.serve(accepted, &bound);
    }
    drop(bound);
    let mut cut_off = pin!(core.until_cut_off());
    while let Either::Left((Some(ended), _)) =
        select(pin!(acceptor.connections.join_next()), &mut cut_off).await
    {
        report(ended);
    }
    // A connection that is left counts itself as cut off when its task is dropped.
    acceptor.connections.shutdown().await;
}

/// What an acceptor does next.
enum Next {
    Stop,
    Ended(Result<(), JoinError>),
    Accepted(io::Result<(Io, Option<SocketAddr>)>),
}

impl<S: Protocol> Acceptor<S> {
    fn poll_next(
        &mut self,
        socket: &ListeningSocket,
        draining: Pin<&mut impl Future<Output = ()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        if draining.poll(cx).is_ready() {
            return Poll::Ready(Next::Stop);
        }
        if let Poll::Ready(Some(ended)) = self.connections.poll_join_next(cx) {
            return Poll::Ready(Next::Ended(ended));
        }
        socket.poll_accept(cx).map(Next::Accepted)
    }

    fn serve(&mut self, (io, peer): (Io, Option<SocketAddr>), bound: &BoundSocket) {
        let core = &self.core;
        if !core.counters.open(core.limits.connections) {
            core.log_refusal(
                Refusal::Connections,
                &peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string()),
                &"`max_connections` are open",
            );
            return;
        }
        let local = io.local_address().unwrap_or_else(|| bound.address.clone());
        let connection = Connection {
            stream: ClientStream::new(io, core),
            peer,
            local,
            opening: Arc::clone(&bound.opening),
            service: self.service.clone(),
            core: Arc::clone(core),
        };
        self.connections.spawn(connection.run());
    }

    fn log(&mut self, error: &io::Error, address: &LocalAddress) {
        self.core.counters.accept_errors.fetch_add(1, Relaxed);
        if let Some(suppressed) = self.errors_logged.pass() {
            tracing::error!(%address, %error, suppressed, "no connection can be accepted");
        }
    }
}

impl ListeningSocket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Io, Option<SocketAddr>)>> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = ready!(socket.poll_accept(cx))?;
                // Fails only on a connection that has failed already.
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok((Io::Tcp(stream), Some(canonical(peer)))))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = ready!(socket.poll_accept(cx))?;
                Poll::Ready(Ok((Io::Unix(stream), None)))
            }
        }
    }
}

impl Io {
    /// Returns the address that the client has connected to; `None` on a Unix socket.
    fn local_address(&self) -> Option<LocalAddress> {
        match self {
            Self::Tcp(stream) => Some(LocalAddress::Tcp(canonical(stream.local_addr().ok()?))),
            Self::Unix(_) => None,
        }
    }
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // Another would lack its scope.
        IpAddr::V6(_) => address,
    }
}

/// Returns whether another connection could be accepted at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted,
        NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    )
}

fn report(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("the service has panicked: a connection is closed");
    }
}
