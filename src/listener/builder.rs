use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{ListenError, Listener, Socket, core::Core, limits::Limits};
use crate::ConfigError;

/// Configures a [`Listener`].
///
/// A time limit of [`Duration::MAX`] is no limit.
#[derive(Debug)]
pub struct ListenerBuilder {
    sockets: Vec<Socket>,
    name: Option<Arc<str>>,
    http2: bool,
    limits: Limits,
}

impl ListenerBuilder {
    pub(super) fn new() -> Self {
        Self { sockets: Vec::new(), name: None, http2: true, limits: Limits::default() }
    }

    /// Adds a socket. At least one is needed.
    #[must_use]
    pub fn socket(mut self, socket: Socket) -> Self {
        self.sockets.push(socket);
        self
    }

    /// Adds sockets, such as those of [`Socket::inherited`].
    #[must_use]
    pub fn sockets(mut self, sockets: impl IntoIterator<Item = Socket>) -> Self {
        self.sockets.extend(sockets);
        self
    }

    /// Sets the name in the status and in log events. Default `listener`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    setters! {
        /// Sets whether HTTP/2 is served besides HTTP/1.1. Default `true`: without TLS the first
        /// bytes decide, and with TLS the protocol that the handshake has agreed on (ALPN). If
        /// `false`, ALPN does not offer `h2`.
        pub fn http2(served: bool) => http2 = served;
        /// Limits the number of open connections. Further ones are accepted, counted and closed at
        /// once: in the kernel's queue, their clients would wait without an answer. A connection
        /// counts until its socket is closed, also after an upgrade. Default 16 384.
        pub fn max_connections(number: usize) => limits.connections = number;
        /// Limits the number of open connections of each client address: that of the PROXY header,
        /// or of the socket. An IPv6 address counts by its `/64` network. Further connections are
        /// accepted, counted and closed. Unix sockets without a PROXY header have no address.
        /// Default no limit, because many clients may share an address.
        pub fn max_connections_per_address(number: usize)
            => limits.connections_per_address = Some(number);
        /// Limits the head of a request in bytes, from 1 KiB to 16 MiB: larger ones get status 431.
        /// Default 64 KiB.
        pub fn max_head_bytes(bytes: u32) => limits.head_bytes = bytes;
        /// Limits the number of requests in flight on one connection of HTTP/2. Default 128.
        pub fn max_streams(number: u32) => limits.streams = number;
        /// Limits the number of requests on one connection. With the last one, the client learns
        /// that it has to open another connection (`Connection: close` or GOAWAY). Requests of
        /// HTTP/2 that are on the way then are still served. Default no limit.
        pub fn max_requests(number: u64) => limits.requests = Some(number);
        /// Limits the time of a request head: for the first request from the beginning of HTTP on
        /// the connection, so that a silent client is closed too; for further ones on HTTP/1.1 from
        /// their first byte. A client that has sent part of a head on HTTP/1.1 gets status 408.
        /// Default 30 s.
        pub fn head_timeout(time: Duration) => limits.times.head = time;
        /// Limits the time between the last byte of a response and the next request. Pings of
        /// HTTP/2 do not extend it. Default 60 s.
        pub fn keep_alive(time: Duration) => limits.times.keep_alive = time;
        /// Limits the time without a byte in either direction while a request is in flight. The
        /// connection is closed then. With HTTP/2, only bytes of requests and responses count,
        /// those of all streams together: pings, settings and window updates do not extend the
        /// limit. Default 60 s, as for an Application Load Balancer.
        pub fn idle_timeout(time: Duration) => limits.times.idle = time;
        /// Limits the time without a byte in either direction after an upgrade, such as to
        /// WebSocket. On HTTP/2 it replaces the two limits above once a stream has become a tunnel.
        /// Default 1 h.
        pub fn tunnel_idle(time: Duration) => limits.times.tunnel_idle = time;
        /// Limits the time in which a client reads nothing of what waits for it. On HTTP/2 that is
        /// a client that reads no frame. A client that stops its streams by flow control is under
        /// `idle_timeout`, or under `keep_alive` once all response bodies have been read from the
        /// service. Default 30 s.
        pub fn write_timeout(time: Duration) => limits.times.write = time;
        /// Limits the age of a connection: after that, its next response says `Connection: close`
        /// on HTTP/1.1, and a connection of HTTP/2 gets a GOAWAY. Default 1 h, as for an
        /// Application Load Balancer.
        pub fn max_age(time: Duration) => limits.times.age = time;
        /// Limits the time of a TLS handshake, with the time that it waits for others. Default
        /// 10 s.
        pub fn handshake_timeout(time: Duration) => limits.handshake = time;
        /// Limits the number of TLS handshakes at a time; further ones wait. Default 1024.
        pub fn max_handshakes(number: usize) => limits.handshakes = number;
    }

    /// Opens the sockets, which queue connections from here on until
    /// [`serve`](Listener::serve) accepts them.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, if there is no socket, if one cannot be opened, or outside a Tokio
    /// runtime.
    pub fn bind(self) -> Result<Listener, ListenError> {
        self.limits.check()?;
        if self.sockets.is_empty() {
            return Err(ConfigError::new("socket", "at least one").into());
        }
        if Handle::try_current().is_err() {
            return Err(ConfigError::new("bind", "a call inside a Tokio runtime").into());
        }
        let mut bound = Vec::new();
        let mut addresses = Vec::new();
        for socket in self.sockets {
            let acceptors = socket.bind(self.http2)?;
            addresses.extend(acceptors.first().map(|one| one.address.clone()));
            bound.extend(acceptors);
        }
        let core = Core::new(self.limits, self.http2);
        if let Some(name) = self.name {
            core.counters.name.set(name);
        }
        Ok(Listener::new(bound, addresses.into(), Arc::new(core)))
    }
}
