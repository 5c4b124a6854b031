//! Connections: name resolution, TCP, and the bytes of either transport.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::origin::{Address, Origin};

/// When the next address of a host is tried beside the ones before it (RFC 8305, 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// Opens a TCP connection to the endpoint.
pub(super) async fn dial(origin: &Origin) -> io::Result<TcpStream> {
    let host = origin.host_name();
    let stream = match origin.address() {
        Address::Socket(address) => TcpStream::connect(address).await?,
        // The system's resolver knows the index of a zone's name.
        Address::Zone(zone) => resolve(&format!("{host}%{zone}"), origin.port()).await?,
        Address::Authority => match host.parse() {
            Ok(ip) => TcpStream::connect(SocketAddr::new(ip, origin.port())).await?,
            Err(_) => resolve(host, origin.port()).await?,
        },
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn resolve(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut addresses = interleaved(lookup_host((host, port)).await?.collect()).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        attempts.extend(addresses.next().map(TcpStream::connect));
        // After the last address there is nothing to do but to wait for the attempts.
        let delay = if addresses.len() > 0 { NEXT_ADDRESS_DELAY } else { Duration::MAX };
        match timeout(delay, attempts.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(failed))) => error = failed,
            Ok(None) => return Err(error),
            Err(_elapsed) => {}
        }
    }
}

/// Alternates between the families, starting with the resolver's preference (RFC 8305, 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_first_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::new();
    while first.len() + second.len() > 0 {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}

/// What a pool hears from its connections, which do not keep it alive.
pub(super) trait Events: Send + Sync {
    /// A socket has been closed, or will not be opened.
    fn socket_closed(self: Arc<Self>);

    /// A stream of an HTTP/2 connection has ended, or the connection allows more.
    fn streams_freed(self: Arc<Self>, connection: &super::http2::Streams);
}

/// One of the sockets that the limit of connections counts.
pub(super) struct Slot(Weak<dyn Events>);

impl Slot {
    pub(super) fn new(events: Weak<dyn Events>) -> Self {
        Self(events)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(events) = self.0.upgrade() {
            events.socket_closed();
        }
    }
}

/// The bytes of a connection. The fields are dropped in their order, so the socket is closed before
/// another one may be opened in its place.
pub(super) struct Io {
    transport: Transport,
    _slot: Option<Slot>,
}

pub(super) enum Transport {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Io {
    pub(super) fn new(transport: Transport, slot: Option<Slot>) -> Self {
        Self { transport, _slot: slot }
    }
}

macro_rules! of_transport {
    ($io:expr, $stream:ident => $result:expr) => {
        match &mut $io.transport {
            Transport::Tcp($stream) => $result,
            #[cfg(feature = "tls")]
            Transport::Tls($stream) => $result,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_transport!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_transport!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_transport!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_transport!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_transport!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, sync::Mutex};

    use tokio::net::TcpListener;

    use super::*;

    /// Looks, when a place is free, whether the peer has been told that the socket is closed.
    struct Peer(Mutex<(std::net::TcpStream, Option<usize>)>);

    impl Events for Peer {
        fn socket_closed(self: Arc<Self>) {
            let mut peer = self.0.lock().unwrap();
            let (socket, read) = &mut *peer;
            *read = socket.read(&mut [0]).ok();
        }

        fn streams_freed(self: Arc<Self>, _: &crate::http::client::http2::Streams) {}
    }

    /// With this, and because a socket is opened only below the limit, there are never more sockets
    /// than the limit. A server cannot be asked: it learns of the end of a connection later.
    #[tokio::test]
    async fn a_socket_is_closed_before_its_place_is_free() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let theirs = listener.accept().await.unwrap().0.into_std().unwrap();
        let peer = Arc::new(Peer(Mutex::new((theirs, None))));
        let events: Weak<dyn Events> = Arc::<Peer>::downgrade(&peer);
        drop(Io::new(Transport::Tcp(ours), Some(Slot::new(events))));
        assert_eq!(peer.0.lock().unwrap().1, Some(0), "the end of the stream");
    }
}
