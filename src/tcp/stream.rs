use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A stream of bytes that a [`Relay`](super::Relay) can relay: a socket, or TLS over one.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the socket send a reset instead of a regular end when it is dropped. Bytes that were
    /// written and not sent yet are lost. Has no effect on a stream that has no resets.
    fn reset_on_drop(&mut self);
}

impl Stream for TcpStream {
    fn reset_on_drop(&mut self) {
        // Fails only on a socket that the peer has reset.
        let _ = SockRef::from(&*self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Stream for UnixStream {
    fn reset_on_drop(&mut self) {}
}

impl Stream for DuplexStream {
    fn reset_on_drop(&mut self) {}
}

#[cfg(feature = "tls")]
impl<S: Stream> Stream for tokio_rustls::server::TlsStream<S> {
    fn reset_on_drop(&mut self) {
        self.get_mut().0.reset_on_drop();
    }
}

#[cfg(feature = "tls")]
impl<S: Stream> Stream for tokio_rustls::client::TlsStream<S> {
    fn reset_on_drop(&mut self) {
        self.get_mut().0.reset_on_drop();
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn reset_on_drop(&mut self) {
        (**self).reset_on_drop();
    }
}

/// The client's stream, with the bytes that were read to look at them.
pub(super) struct ClientStream {
    pub(super) ahead: Vec<u8>,
    pub(super) io: Box<dyn Stream>,
}

/// The stream to a target.
pub(super) enum TargetStream {
    Tcp(TcpStream),
    /// Boxed, so that a connection without TLS has no memory for it.
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

macro_rules! of_target {
    ($target:expr, $stream:ident => $result:expr) => {
        match $target {
            TargetStream::Tcp($stream) => $result,
            #[cfg(feature = "tls")]
            TargetStream::Tls($stream) => $result,
        }
    };
}

impl AsyncRead for TargetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_target!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_target!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_target!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_target!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl Stream for TargetStream {
    fn reset_on_drop(&mut self) {
        of_target!(self, stream => stream.reset_on_drop());
    }
}
