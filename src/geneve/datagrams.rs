//! Receiving datagrams into buffers that they share, and sending them in two parts.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::UdpSocket;

/// More than the payload of the longest datagram, so that none is cut.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams share buffers of this size, so that most need no allocation.
const BUFFER: usize = 256 * 1024;

/// Polls for the next datagram. The bytes are a part of `buffer`, which is used again once all that
/// it had are dropped.
pub(super) fn poll_datagram(
    socket: &UdpSocket,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Bytes, SocketAddr)>> {
    loop {
        ready!(socket.poll_recv_ready(cx))?;
        if buffer.capacity() < MAX_DATAGRAM {
            buffer.reserve(BUFFER);
        }
        match socket.try_recv_buf_from(&mut (&mut *buffer).limit(MAX_DATAGRAM)) {
            Ok((_, from)) => return Poll::Ready(Ok((buffer.split().freeze(), from))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Sends a header and a packet as one datagram, without copying either.
pub(super) fn send(
    socket: &UdpSocket,
    header: &[u8],
    packet: &[u8],
    to: SocketAddr,
) -> io::Result<usize> {
    let parts = [IoSlice::new(header), IoSlice::new(packet)];
    // Not through tokio, which would wait for room. The socket does not block.
    SockRef::from(socket).send_to_vectored(&parts, &to.into())
}
