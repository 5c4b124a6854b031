#![cfg_attr(not(feature = "tls"), allow(dead_code, reason = "some refusals are those of TLS"))]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{escape::Escaped, named::SharedName};

counts! {
    /// Counts connections that were refused before a request was read, by the reason.
    pub struct Refusals, RefusalCounters by Refusal {
        /// The listener had `max_connections` connections.
        connections: Connections,
        /// The client's address had `max_connections_per_address` connections.
        connections_per_address: ConnectionsPerAddress,
        /// A PROXY header is expected, and the peer is in none of the trusted networks.
        untrusted_peer: UntrustedPeer,
        /// The connection did not begin with a valid PROXY header.
        proxy_header: ProxyHeader,
        /// The PROXY header was not complete in time.
        proxy_timeout: ProxyTimeout,
        /// The TLS handshake failed.
        handshake: Handshake,
        /// The TLS handshake was not complete in time, or had to wait too long for others.
        handshake_timeout: HandshakeTimeout,
    }
}

counts! {
    /// Counts connections that were served and are closed, by the cause.
    pub struct Closings, ClosingCounters by Closing {
        /// The client has closed it, or the last exchange said `Connection: close`.
        finished: Finished,
        /// The client did not send a request head within `head_timeout`.
        head_timeout: HeadTimeout,
        /// The client sent no further request within `keep_alive`.
        keep_alive: KeepAlive,
        /// No byte was sent or received within `idle_timeout`, or `tunnel_idle`.
        idle_timeout: IdleTimeout,
        /// The client read nothing within `write_timeout`.
        write_timeout: WriteTimeout,
        /// It reached `max_age` or `max_requests`.
        retired: Retired,
        /// It ended while the listener was draining.
        drained: Drained,
        /// It was open when the time for draining was over, or when the listener was dropped.
        cut_off: CutOff,
        /// The client broke the protocol or the connection, or the service failed or panicked.
        failed: Failed,
    }
}

/// The connections of a [`Listener`](super::Listener) since it was bound.
///
/// `accepted` is the sum of `open`, `refused` and `closed`, except while a connection changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ListenerStatus {
    /// The name of the listener.
    pub name: Arc<str>,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections whose socket is open now. One that was upgraded counts until its tunnel ends.
    pub open: u64,
    /// Connections that were refused, by the reason.
    pub refused: Refusals,
    /// Connections that were closed, by the cause.
    pub closed: Closings,
    /// Requests whose head was received.
    pub requests: u64,
    /// Requests whose response is not complete.
    pub in_flight: u64,
    /// Bytes received from clients, with the framing of TLS and HTTP. Open connections are up to 64
    /// KiB ahead of it.
    pub bytes_in: u64,
    /// Bytes sent to clients. Open connections are up to 64 KiB ahead of it.
    pub bytes_out: u64,
    /// Failures of `accept` that concern no single connection, such as a lack of file descriptors.
    pub accept_errors: u64,
}

impl fmt::Display for ListenerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, accepted, open, refused, requests, in_flight, .. } = self;
        write!(
            f,
            "{}: {open} of {accepted} connections open, {in_flight} of {requests} requests in \
             flight, {} refused ({refused})",
            Escaped(name),
            refused.total()
        )
    }
}

/// The atomics behind a [`ListenerStatus`].
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) name: SharedName,
    open: AtomicUsize,
    accepted: AtomicU64,
    refused: RefusalCounters,
    closed: ClosingCounters,
    pub(super) requests: AtomicU64,
    /// Requests that have ended.
    pub(super) ended: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    /// Connections that ended while the listener was draining, for whatever reason.
    pub(super) connections_drained: AtomicU64,
    /// Connections that were cut off: their sockets may be closed a little later.
    pub(super) connections_cut_off: AtomicU64,
    /// Requests that were in flight on those.
    pub(super) requests_cut_off: AtomicU64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Refused(Refusal),
    Closed(Closing),
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            name: SharedName::new("listener"),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: RefusalCounters::default(),
            closed: ClosingCounters::default(),
            requests: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            connections_drained: AtomicU64::new(0),
            connections_cut_off: AtomicU64::new(0),
            requests_cut_off: AtomicU64::new(0),
        }
    }

    pub(super) fn status(&self) -> ListenerStatus {
        // The ended ones first: otherwise requests that end in between would be missing.
        let ended = self.ended.load(Relaxed);
        let requests = self.requests.load(Relaxed);
        ListenerStatus {
            name: self.name.get(),
            accepted: self.accepted.load(Relaxed),
            open: self.open.load(Relaxed) as u64,
            refused: self.refused.read(),
            closed: self.closed.read(),
            requests,
            in_flight: requests.saturating_sub(ended),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            accept_errors: self.accept_errors.load(Relaxed),
        }
    }

    /// Counts a connection as open. Returns `false`, and counts it as refused, if `limit` are open.
    pub(super) fn open(&self, limit: usize) -> bool {
        self.accepted.fetch_add(1, Relaxed);
        if self.open.fetch_add(1, Relaxed) >= limit {
            self.close(End::Refused(Refusal::Connections));
            return false;
        }
        true
    }

    /// Counts an open connection as ended.
    pub(super) fn close(&self, end: End) {
        self.open.fetch_sub(1, Relaxed);
        match end {
            End::Refused(refusal) => self.refused.count(refusal),
            End::Closed(closing) => self.closed.count(closing),
        }
    }
}
