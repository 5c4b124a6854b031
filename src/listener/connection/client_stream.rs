use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::activity::Activity;
use crate::listener::{
    address_limit::AddressPermit,
    core::{Core, Phase},
    status::{Closing, End},
};

/// The socket of a client. It reports what passes to the [`Activity`] of its connection, which is
/// open until the socket is closed: also when an upgrade has handed it to another task.
#[derive(Debug)]
pub(in crate::listener) struct ClientStream {
    io: Io,
    /// Bytes that were read to look at them, and not consumed.
    ahead: Vec<u8>,
    activity: Arc<Activity>,
    /// Not yet added to the counters of the listener.
    bytes_in: u64,
    bytes_out: u64,
    address: Option<AddressPermit>,
}

#[derive(Debug)]
pub(in crate::listener) enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The counters of the listener are shared by all connections, so each adds to them in steps.
const COUNTING_STEP: u64 = 64 * 1024;
/// How much is read to look at it.
const AHEAD_STEP: usize = 1024;

impl ClientStream {
    /// `core` has counted the connection as open.
    pub(in crate::listener) fn new(io: Io, core: &Arc<Core>) -> Self {
        let activity = Arc::new(Activity::new(Arc::clone(core)));
        Self { io, ahead: Vec::new(), activity, bytes_in: 0, bytes_out: 0, address: None }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Keeps the permit of the client's address until the socket is closed.
    pub(super) fn hold(&mut self, permit: AddressPermit) {
        self.address = Some(permit);
    }

    /// Makes the socket send a reset when it is dropped.
    #[cfg(feature = "tcp")]
    pub(super) fn reset_socket(&mut self) {
        if let Io::Tcp(stream) = &self.io {
            // Fails only on a socket that the peer has reset.
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Returns the bytes that were read ahead.
    pub(in crate::listener) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Reads more bytes ahead. Returns how many; 0 at the end of the stream.
    pub(in crate::listener) async fn read_ahead(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            // On the stack, so that a connection that waits has no memory for it.
            let mut step = [0; AHEAD_STEP];
            let mut step = ReadBuf::new(&mut step);
            ready!(self.poll_socket(cx, &mut step))?;
            self.ahead.extend_from_slice(step.filled());
            Poll::Ready(Ok(step.filled().len()))
        })
        .await
    }

    /// Drops the first `length` bytes that were read ahead.
    pub(in crate::listener) fn consume(&mut self, length: usize) {
        self.ahead.drain(..length);
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let bytes = buf.filled().len() - before;
        if bytes > 0 {
            self.activity.has_read();
            self.bytes_in += bytes as u64;
            if self.bytes_in >= COUNTING_STEP {
                self.count();
            }
        }
        if read.is_pending() {
            self.activity.reader.register(cx.waker());
            // It may have been cut before the waker was there.
            self.fail_if_cut()?;
        }
        read
    }

    fn fail_if_cut(&self) -> io::Result<()> {
        if self.activity.is_cut() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "cut off by the listener",
            ));
        }
        Ok(())
    }

    fn count(&mut self) {
        let counters = &self.activity.core.counters;
        counters.bytes_in.fetch_add(std::mem::take(&mut self.bytes_in), Relaxed);
        counters.bytes_out.fetch_add(std::mem::take(&mut self.bytes_out), Relaxed);
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => {
                self.activity.has_written();
                self.bytes_out += *bytes as u64;
                if self.bytes_out >= COUNTING_STEP {
                    self.count();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.activity.is_blocked();
                self.activity.writer.register(cx.waker());
                // It may have been cut before the waker was there.
                self.fail_if_cut()?;
            }
        }
        written
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.fail_if_cut()?;
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..length]);
            this.consume(length);
            if this.ahead.is_empty() {
                this.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        this.poll_socket(cx, buf)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.fail_if_cut()?;
        let written = match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.fail_if_cut()?;
        let written = match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Io::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.count();
        let (core, end) = (&self.activity.core, self.activity.ended());
        core.counters.close(end);
        let is_finished = matches!(end, End::Closed(closing) if closing != Closing::CutOff);
        if is_finished && core.phase() > Phase::Serving {
            core.counters.connections_drained.fetch_add(1, Relaxed);
        }
        self.activity.close();
    }
}
