use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use tokio::{io::ReadBuf, net::UdpSocket};

use super::socket::{is_refused, is_too_long};

/// A buffer for one datagram. It is longer than any, so that none is cut off.
#[derive(Default)]
pub(super) struct Buffer(Box<[u8]>);

/// Longer than any datagram: IPv6 can carry 65 527 bytes.
pub(super) const BUFFER_BYTES: usize = 1 << 16;
/// The most that IPv4 can carry.
pub(super) const MAX_DATAGRAM_BYTES: usize = 65_507;

/// How many datagrams are received before other tasks get a turn.
const BATCH: usize = 64;

/// A datagram from anywhere.
pub(super) struct Received<'a> {
    pub(super) payload: &'a [u8],
    pub(super) from: SocketAddr,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self(vec![0; BUFFER_BYTES].into())
    }

    /// Receives a batch of datagrams from anywhere. Returns true if there may be more.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Received<'_>),
    ) -> io::Result<bool> {
        for _ in 0..BATCH {
            match self.poll_receive(socket, cx) {
                Poll::Ready(received) => handle(received?),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn poll_receive(
        &mut self,
        socket: &UdpSocket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Received<'_>>> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.0);
            match ready!(socket.poll_recv_from(cx, &mut buffer)) {
                Ok(from) => {
                    let len = buffer.filled().len();
                    return Poll::Ready(Ok(Received { payload: &self.0[..len], from }));
                }
                Err(error) if is_of_one_datagram(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Receives a datagram from the peer of a connected socket.
    pub(super) fn poll_reply(
        &mut self,
        socket: &UdpSocket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.0);
            match ready!(socket.poll_recv(cx, &mut buffer)) {
                Ok(()) => {
                    let len = buffer.filled().len();
                    return Poll::Ready(Ok(&self.0[..len]));
                }
                // It is about a datagram that was sent, and the peer is not at fault.
                Err(error) if is_too_long(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Returns whether an error concerns a datagram that was sent before, and not the socket.
fn is_of_one_datagram(error: &io::Error) -> bool {
    is_refused(error) || is_too_long(error) || error.kind() == io::ErrorKind::Interrupted
}
