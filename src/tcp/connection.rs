use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::io::AsyncReadExt;

use super::{ClientTls, Stream, stream::ClientStream};
use crate::{
    escape::Escaped,
    flow::FlowKey,
    hash::ip_hash,
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
    sync::{Mutex, lock},
};

/// The connection of a client: the request of a network load balancer.
///
/// It is a handle. Clones share the client's stream, which stays in the handle until a relay has
/// connected to a target. So a retry can try another target while no byte of the client was sent,
/// and of two attempts at a time the first one that connects gets the stream. The stream is closed
/// when the last handle is dropped and no attempt has taken it.
#[derive(Clone)]
pub struct Connection {
    facts: Arc<Facts>,
    stream: Arc<Mutex<Option<ClientStream>>>,
    attempts: Option<Attempts>,
}

/// What is known about a connection.
#[derive(Clone, Default)]
struct Facts {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    server_name: Option<Box<str>>,
    alpn: Vec<Box<[u8]>>,
    tls: Option<ClientTls>,
    extensions: Vec<(u8, Box<[u8]>)>,
}

/// How much is read at a time to look at it.
const AHEAD_STEP: usize = 4096;

impl Connection {
    /// Creates the connection of a client at `peer` that has connected to `local`.
    #[must_use]
    pub fn new(stream: impl Stream, peer: SocketAddr, local: SocketAddr) -> Self {
        Self::between(stream, Some(peer), Some(local))
    }

    /// Creates a connection without addresses, such as that of a Unix socket.
    #[must_use]
    pub fn without_addresses(stream: impl Stream) -> Self {
        Self::between(stream, None, None)
    }

    #[cfg_attr(not(feature = "listener"), allow(dead_code))]
    pub(crate) fn between(
        stream: impl Stream,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Self {
        let facts = Facts { peer, local, ..Facts::default() };
        let stream = ClientStream { ahead: Vec::new(), io: Box::new(stream) };
        Self { facts: Arc::new(facts), stream: Arc::new(Mutex::new(Some(stream))), attempts: None }
    }

    /// Sets the addresses that a load balancer in front has named. Default those of the socket.
    #[must_use]
    pub fn with_original(mut self, source: SocketAddr, destination: SocketAddr) -> Self {
        let facts = self.facts();
        (facts.source, facts.destination) = (Some(source), Some(destination));
        self
    }

    /// Sets what the TLS handshake with the client has agreed on. Default none.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls) -> Self {
        let facts = self.facts();
        facts.server_name = tls.server_name().map(Into::into);
        facts.alpn = tls.alpn().map(Into::into).into_iter().collect();
        facts.tls = Some(tls);
        self
    }

    /// Adds an extension (TLV) of the PROXY protocol that targets get if they get headers of
    /// version 2, such as `0xEA`, with which AWS names a VPC endpoint.
    #[must_use]
    pub fn with_extension(mut self, kind: u8, value: impl Into<Box<[u8]>>) -> Self {
        self.facts().extensions.push((kind, value.into()));
        self
    }

    /// Sets what the client offers in a TLS handshake that a target is going to do.
    pub(super) fn set_offer(&mut self, server_name: Option<Box<str>>, alpn: Vec<Box<[u8]>>) {
        let facts = self.facts();
        (facts.server_name, facts.alpn) = (server_name, alpn);
    }

    fn facts(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.facts)
    }

    /// Returns the address of the peer of the socket; `None` on a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.facts.peer
    }

    /// Returns the address of the socket that the peer has connected to; `None` on a Unix socket.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.facts.local
    }

    /// Returns the address of the client: the one that a load balancer in front has named, or that
    /// of the socket.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.facts.source.or(self.facts.peer)
    }

    /// Returns the address that the client has connected to: the one that a load balancer in front
    /// has named, or that of the socket.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.facts.destination.or(self.facts.local)
    }

    /// Returns the name that the client has asked for (SNI), in lower case: in the handshake that
    /// the listener has done, or in the one that [`ReadHello`](super::ReadHello) has looked at.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// Returns the application protocols that the client offers in a handshake that
    /// [`ReadHello`](super::ReadHello) has looked at, or the one that the listener has agreed on.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        self.facts.alpn.iter().map(|protocol| &**protocol)
    }

    /// Returns what the TLS handshake with the client has agreed on; `None` without TLS, and if TLS
    /// is passed through.
    #[must_use]
    pub fn tls(&self) -> Option<&ClientTls> {
        self.facts.tls.as_ref()
    }

    pub(super) fn extensions(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.facts.extensions.iter().map(|(kind, value)| (*kind, &**value))
    }

    /// Returns a key of the connection's flow: addresses and ports of both ends. A hashing strategy
    /// with this key spreads the connections of one client over all endpoints:
    /// `Maglev::new(Connection::flow_key)`. `None` without addresses.
    ///
    /// AWS's Network Load Balancer also hashes the first sequence number, which a socket does not
    /// show.
    #[must_use]
    pub fn flow_key(&self) -> Option<u64> {
        let (source, destination) = (self.source()?, self.destination()?);
        Some(FlowKey::five_tuple(FlowKey::TCP, source, destination).hash(0))
    }

    /// Returns a key of the client's IP address. A hashing strategy with this key sends all
    /// connections of a client to one endpoint while that one serves:
    /// `Maglev::new(Connection::source_key)`. `None` without an address.
    #[must_use]
    pub fn source_key(&self) -> Option<u64> {
        Some(ip_hash(self.source()?.ip()))
    }

    /// Returns true if an attempt has taken the stream, or if it was reset.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        lock(&self.stream).is_none()
    }

    /// Closes the connection with a reset. Has no effect if an attempt has taken the stream.
    pub fn reset(&self) {
        if let Some(mut stream) = self.take() {
            stream.io.reset_on_drop();
        }
    }

    /// Takes the stream of the client, for a service that does not relay it. Also returns the bytes
    /// that were read ahead, which come first. `None` if it is taken.
    #[must_use]
    pub fn into_stream(self) -> Option<(Vec<u8>, Box<dyn Stream>)> {
        self.take().map(|stream| (stream.ahead, stream.io))
    }

    pub(super) fn take(&self) -> Option<ClientStream> {
        lock(&self.stream).take()
    }

    /// Reads ahead until `look` returns a value, or until the client closes; `None` then. The bytes
    /// stay in the connection.
    pub(super) async fn look_ahead<T>(
        &self,
        mut look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        // The guard puts the stream back, also if this future is dropped at a time limit.
        let mut taken = Taken { stream: self.take(), connection: self };
        let stream = taken.stream.as_mut()?;
        loop {
            if let Some(seen) = look(&stream.ahead) {
                return Some(seen);
            }
            let mut step = [0; AHEAD_STEP];
            // What is wrong with the stream is found again when it is relayed.
            match stream.io.read(&mut step).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => stream.ahead.extend_from_slice(&step[..length]),
            }
        }
    }
}

/// A stream that is put back when this is dropped.
struct Taken<'a> {
    stream: Option<ClientStream>,
    connection: &'a Connection,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            *lock(&self.connection.stream) = Some(stream);
        }
    }
}

impl Carry for Connection {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl RetryableRequest for Connection {
    /// What a target may have received cannot be taken back.
    fn retry_safety(&self) -> RetrySafety {
        RetrySafety::IfUnsent
    }

    fn try_clone(&self) -> Option<Self> {
        (!self.is_taken()).then(|| self.clone())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("server_name", &self.server_name().map(|name| Escaped(name).to_string()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(source: &str, destination: &str) -> Connection {
        let (ours, _) = tokio::io::duplex(16);
        Connection::new(ours, source.parse().unwrap(), destination.parse().unwrap())
    }

    /// Balancers of different versions must agree. The values are those of another implementation.
    #[test]
    fn keys_never_change() {
        let one = connection("192.0.2.1:5000", "198.51.100.7:443");
        let two = connection("192.0.2.1:5001", "198.51.100.7:443");
        assert_eq!(one.source_key(), Some(0x2C1C_901E_ED9A_DC4A));
        assert_eq!(one.flow_key(), Some(0x2C04_2721_8EC7_356D));
        assert_eq!(one.source_key(), two.source_key());
        assert_ne!(one.flow_key(), two.flow_key());
        let mapped = connection("[::ffff:192.0.2.1]:5000", "198.51.100.7:443");
        assert_eq!((one.flow_key(), one.source_key()), (mapped.flow_key(), mapped.source_key()));
        let named = two.with_original(one.source().unwrap(), one.destination().unwrap());
        assert_eq!(named.flow_key(), one.flow_key());
        assert_eq!(named.peer().unwrap().port(), 5001);
        let (ours, _) = tokio::io::duplex(16);
        let unix = Connection::without_addresses(ours);
        assert_eq!((unix.flow_key(), unix.source_key()), (None, None));
    }

    #[cfg(feature = "udp")]
    #[test]
    fn a_client_has_the_source_key_of_its_flows_of_udp() {
        for client in ["192.0.2.1:5000", "[::ffff:192.0.2.1]:5000", "[2001:db8::1]:5000"] {
            let connection = connection(client, "198.51.100.7:443");
            let flow = crate::udp::Flow::new(client.parse().unwrap(), connection.local().unwrap());
            assert_eq!(connection.source_key(), Some(flow.source_hash()), "{client}");
        }
    }

    #[tokio::test]
    async fn what_was_looked_at_stays_also_after_a_limit() {
        use tokio::io::AsyncWriteExt;

        let (ours, mut theirs) = tokio::io::duplex(16);
        let connection = Connection::without_addresses(ours);
        theirs.write_all(b"abc").await.unwrap();
        let long = |bytes: &[u8]| (bytes.len() > 3).then_some(());
        let limit = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(limit, connection.look_ahead(long)).await.is_err());
        assert!(!connection.is_taken());
        theirs.write_all(b"d").await.unwrap();
        assert_eq!(connection.look_ahead(long).await, Some(()));
        let copy = connection.try_clone().unwrap();
        assert_eq!(connection.into_stream().unwrap().0, b"abcd");
        assert!(copy.is_taken() && copy.try_clone().is_none());
    }
}
