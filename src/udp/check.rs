use std::{fmt, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::UdpSocket;

use super::{dns, socket};
use crate::{BoxError, ParseError, health::Check};

/// Passes if the endpoint replies to a datagram.
///
/// It needs addresses, so it belongs before [`targets`](super::targets). A reply that does not
/// match is ignored, so that a late one of an earlier check does not fail this one.
///
/// ```
/// use tower_lb::{health::HealthCheck, udp::DatagramCheck};
///
/// let echo = HealthCheck::new(DatagramCheck::new("ping").reply(|reply| reply == b"pong"));
/// let dns = HealthCheck::new(DatagramCheck::dns("example.com")?);
/// # Ok::<(), tower_lb::ParseError>(())
/// ```
#[derive(Clone)]
pub struct DatagramCheck {
    payload: Bytes,
    is_reply: Arc<dyn Fn(&[u8]) -> bool + Send + Sync>,
}

impl DatagramCheck {
    /// Sends `payload`, and takes any datagram as the reply.
    #[must_use]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), is_reply: Arc::new(|_| true) }
    }

    /// Sends a query for the IPv4 addresses of `name`. A DNS server passes if it answers that
    /// query, with addresses or with NXDOMAIN. Other response codes, such as SERVFAIL and REFUSED,
    /// are ignored, so that the check ends at its timeout.
    ///
    /// # Errors
    ///
    /// If `name` is not a domain name.
    pub fn dns(name: &str) -> Result<Self, ParseError> {
        let query = dns::query(name)?;
        let sent = query.clone();
        Ok(Self::new(query).reply(move |reply| dns::is_useful_response(&sent, reply)))
    }

    /// Sets which datagrams are the expected reply. Default all.
    #[must_use]
    pub fn reply(mut self, is_reply: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        self.is_reply = Arc::new(is_reply);
        self
    }
}

/// The part of a reply that is read, in bytes.
const MAX_REPLY_BYTES: usize = 4096;

impl Check<SocketAddr> for DatagramCheck {
    fn check(&self, address: SocketAddr) -> BoxFuture<'static, Result<(), BoxError>> {
        let Self { payload, is_reply } = self.clone();
        Box::pin(async move {
            let socket = UdpSocket::from_std(socket::connect(address, None)?)?;
            socket.send(&payload).await?;
            let mut reply = vec![0; MAX_REPLY_BYTES];
            loop {
                let readable = socket::readable(&socket).await;
                match readable.and_then(|()| socket.try_recv(&mut reply)) {
                    Ok(len) if is_reply(&reply[..len]) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The kernel knows the path's MTU now, and fragments the datagram.
                    Err(error) if socket::is_too_long(&error) => {
                        socket::send(&socket, &payload)?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}

impl fmt::Debug for DatagramCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramCheck").field("payload", &self.payload).finish_non_exhaustive()
    }
}
