use std::{
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::net::UdpSocket;
use tower_service::Service;

use super::{dns, receive::BUFFER_BYTES, socket};
use crate::{
    BoxError,
    outcome::{Attempts, Bound, Carry, Elapsed},
    retry::{RetrySafety, RetryableRequest},
};

/// A request of a protocol in which one datagram gets one reply, such as DNS.
#[derive(Clone, Debug)]
pub struct Datagram {
    payload: Bytes,
    client: SocketAddr,
    local: SocketAddr,
    attempts: Option<Attempts>,
}

impl Datagram {
    /// Creates a request from `client`, which was received on `local`.
    #[must_use]
    pub fn new(payload: impl Into<Bytes>, client: SocketAddr, local: SocketAddr) -> Self {
        Self { payload: payload.into(), client, local, attempts: None }
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the client's address.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Returns the address that it was received on.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Carry for Datagram {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl RetryableRequest for Datagram {
    /// Datagrams may arrive twice in any case, so protocols over UDP are prepared for it.
    fn retry_safety(&self) -> RetrySafety {
        RetrySafety::Idempotent
    }

    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// An endpoint of request–response protocols: sends a [`Datagram`], and responds with its reply.
///
/// Each request has a socket of its own, which is connected to the endpoint. So replies from
/// elsewhere are ignored by the operating system, and each request has a random port, as DNS needs
/// it against forged replies.
///
/// | what happens | error |
/// |---|---|
/// | no reply in time | [`Elapsed`], which counts as a timeout of the endpoint |
/// | the endpoint refuses the datagram, by an ICMP error | an [`io::Error`], a failure of the endpoint |
/// | no file descriptor or port | a [`CallerError`](crate::outcome::CallerError), which is not charged to the endpoint |
/// | the endpoint is the relay itself | [`TargetLoop`](super::TargetLoop) |
#[derive(Clone)]
pub struct Exchange {
    address: SocketAddr,
    timeout: Duration,
    is_reply: Option<IsReply>,
}

type IsReply = Arc<dyn Fn(&[u8], &[u8]) -> bool + Send + Sync>;

impl Exchange {
    /// Creates an endpoint that takes any datagram from `address` as the reply.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, timeout: Duration::from_secs(1), is_reply: None }
    }

    /// Creates an endpoint that is a DNS server: a reply has the id of the query.
    #[must_use]
    pub fn dns(address: SocketAddr) -> Self {
        Self::new(address).reply(dns::is_response)
    }

    /// Sets how long a request waits for its reply. Default 1 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets which datagrams are replies, by the request and the datagram. Others are ignored.
    #[must_use]
    pub fn reply(
        mut self,
        is_reply: impl Fn(&[u8], &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.is_reply = Some(Arc::new(is_reply));
        self
    }

    async fn exchange(self, request: Datagram) -> Result<Bytes, BoxError> {
        let socket = socket::connect(self.address, Some(request.local))?;
        socket.send(&request.payload)?;
        let socket = UdpSocket::from_std(socket)?;
        let reply = self.receive(&socket, &request.payload);
        match tokio::time::timeout(self.timeout, reply).await {
            Ok(reply) => Ok(reply?),
            Err(_) => Err(Elapsed::new(Bound::FirstByte, self.timeout).into()),
        }
    }

    async fn receive(&self, socket: &UdpSocket, request: &[u8]) -> io::Result<Bytes> {
        loop {
            let readable = socket::readable(socket).await;
            // Allocated only now: a waiting request needs little memory.
            let mut reply = BytesMut::with_capacity(BUFFER_BYTES);
            match readable.and_then(|()| socket.try_recv_buf(&mut reply)) {
                Ok(_) if self.is_reply.as_ref().is_none_or(|is| is(request, &reply)) => {
                    return Ok(Bytes::copy_from_slice(&reply));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The kernel knows the path's MTU now, and fragments the request.
                Err(error) if socket::is_too_long(&error) => {
                    socket::send(socket, request)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Service<Datagram> for Exchange {
    type Response = Bytes;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Datagram) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("address", &self.address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
