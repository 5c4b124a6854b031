//! Sockets that are connected to a target.

use std::{
    error::Error as StdError,
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use socket2::SockRef;
use tokio::{io::Interest, net::UdpSocket as TokioSocket};

use super::status::DropReason;
use crate::{BoxError, loopback::is_loop, outcome::CallerError};

/// A target has the address of the relay itself, so that each datagram would come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetLoop {
    target: SocketAddr,
    local: SocketAddr,
}

impl TargetLoop {
    /// Returns the address of the target.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }
}

impl fmt::Display for TargetLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, local } = self;
        write!(f, "target {target} is the relay itself, which receives on {local}")
    }
}

impl StdError for TargetLoop {}

/// Opens a non-blocking socket that is connected to `target`, for datagrams that came in at
/// `local`.
pub(super) fn connect(
    target: SocketAddr,
    local: Option<SocketAddr>,
) -> Result<UdpSocket, BoxError> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A lack of descriptors or ports is no fault of the endpoint.
    let ours = |error: io::Error| BoxError::from(CallerError::new(error));
    let socket = UdpSocket::bind((any, 0)).map_err(ours)?;
    socket.set_nonblocking(true).map_err(ours)?;
    socket.connect(target)?;
    if let Some(local) = local {
        // The kernel has chosen the source address: for a target on this host, its own address.
        let source = socket.local_addr().map_err(ours)?.ip().to_canonical();
        if is_loop(target, local, Some(source)) {
            return Err(TargetLoop { target, local }.into());
        }
    }
    Ok(socket)
}

/// Waits until a datagram has come, or the operating system reports an error.
///
/// On Linux, a refused datagram makes a socket neither readable nor writable: it is an event of its
/// own.
pub(super) async fn readable(socket: &TokioSocket) -> io::Result<()> {
    let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
    if ready.is_error() {
        if let Some(error) = take_error(socket) {
            return Err(error);
        }
    }
    Ok(())
}

/// Waits until the operating system reports an error of the target.
pub(super) async fn failed(socket: Arc<TokioSocket>) -> io::Error {
    loop {
        if let Err(error) = socket.ready(Interest::ERROR).await {
            return error;
        }
        match take_error(&socket) {
            // The kernel knows the path's MTU now, and fragments the next datagrams.
            Some(error) if is_too_long(&error) => {}
            Some(error) => return error,
            // A call on the socket has returned it.
            None => {}
        }
    }
}

/// Returns the error that the operating system reports. If it reports none, the next error is a new
/// event.
fn take_error(socket: &TokioSocket) -> Option<io::Error> {
    // In `try_io`, so that an error that comes meanwhile is not forgotten.
    let take = || match socket.take_error()? {
        Some(error) => Err(error),
        None => Err(io::ErrorKind::WouldBlock.into()),
    };
    let taken: io::Result<()> = socket.try_io(Interest::ERROR, take);
    taken.err().filter(|error| error.kind() != io::ErrorKind::WouldBlock)
}

/// Sends without waiting. tokio's own `try_send` fails on a socket whose readiness it has not
/// learned yet, as on each new one.
pub(super) fn send(socket: &TokioSocket, datagram: &[u8]) -> io::Result<usize> {
    let socket = SockRef::from(socket);
    match socket.send(datagram) {
        // An earlier datagram may have been too long for the path, and this one was not sent. If
        // this one is too long, it fails again.
        Err(error) if is_too_long(&error) => socket.send(datagram),
        result => result,
    }
}

/// Sends to an address without waiting.
pub(super) fn send_to(socket: &TokioSocket, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(datagram, &to.into())
}

/// Returns whether the operating system reports that nothing receives at the other end.
pub(super) fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}

/// Returns whether a datagram was too long: for UDP, or for the path of an earlier datagram, which
/// a router reports by an ICMP error. The latter says nothing about the target.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    // EMSGSIZE has no kind of its own.
    error.raw_os_error() == Some(EMSGSIZE)
}

/// Returns why a datagram could not be sent.
pub(super) fn drop_reason(error: &io::Error) -> DropReason {
    match error.kind() {
        io::ErrorKind::WouldBlock => DropReason::QueueFull,
        _ if is_too_long(error) => DropReason::TooLarge,
        _ if is_refused(error) => DropReason::Refused,
        _ => DropReason::Failed,
    }
}

/// "Message too long", on Linux and on systems that descend from BSD.
const EMSGSIZE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 90 } else { 40 };
