use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::escape::Escaped;

counts! {
    /// Counts attempts that reached no target, by the reason.
    pub struct ConnectFailures, ConnectFailureCounters by ConnectFailure {
        /// The target refused the connection.
        refused: Refused,
        /// The target was not connected within `connect_timeout`, with the PROXY header and the TLS
        /// handshake.
        timeout: Timeout,
        /// This host has no free port or address for a connection to the target.
        no_local_port: NoLocalPort,
        /// This process has no file descriptor or memory for another connection.
        no_resources: NoResources,
        /// The PROXY header could not be sent.
        proxy_header: ProxyHeader,
        /// The TLS handshake with the target failed.
        tls: Tls,
        /// The target was the address that the client has connected to.
        target_is_self: TargetIsSelf,
        /// The client's stream was taken by another attempt.
        no_client: NoClient,
        /// Any other error, such as an unreachable host.
        other: Other,
    }
}

counts! {
    /// Counts relayed connections that have ended, by the cause.
    pub struct Endings, EndingCounters by EndCause {
        /// Both sides have closed.
        closed: Closed,
        /// The client has reset its connection, or it failed.
        client_reset: ClientReset,
        /// The target has reset its connection, or it failed.
        target_reset: TargetReset,
        /// No byte moved within `idle_timeout`, or `half_closed_timeout`.
        idle: Idle,
        /// The target was removed or became unhealthy, and its connections were ended for it.
        terminated: Terminated,
        /// The relay was dropped, as when the time for draining is over.
        cut_off: CutOff,
    }
}

/// The connections of all relays of a [`Relays`](super::Relays) since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RelayStatus {
    /// The name of the relays.
    pub name: Arc<str>,
    /// Connections that were relayed to a target.
    pub connected: u64,
    /// Connections that are relayed now.
    pub open: u64,
    /// Attempts that have reached no target, by the reason.
    pub failed: ConnectFailures,
    /// Relayed connections that have ended, by the cause.
    pub ended: Endings,
    /// Bytes of clients that targets were sent, without PROXY headers.
    pub bytes_to_targets: u64,
    /// Bytes of targets that clients were sent.
    pub bytes_to_clients: u64,
}

impl fmt::Display for RelayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, connected, open, failed, ended, bytes_to_targets, bytes_to_clients } =
            self;
        write!(
            f,
            "{}: {open} of {connected} connections open, ended: {ended}; not connected: {failed}; \
             {bytes_to_targets} bytes to targets, {bytes_to_clients} bytes to clients",
            Escaped(name)
        )
    }
}

/// The atomics behind a [`RelayStatus`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    name: Arc<str>,
    connected: AtomicU64,
    pub(super) failed: ConnectFailureCounters,
    ended: EndingCounters,
    pub(super) bytes_to_targets: AtomicU64,
    pub(super) bytes_to_clients: AtomicU64,
}

impl Counters {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn open(&self) {
        self.connected.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self, cause: EndCause) {
        self.ended.count(cause);
    }

    pub(super) fn status(&self) -> RelayStatus {
        // The ended ones first: otherwise those that end in between would be missing.
        let ended = self.ended.read();
        let connected = self.connected.load(Relaxed);
        RelayStatus {
            name: Arc::clone(&self.name),
            connected,
            open: connected.saturating_sub(ended.total()),
            failed: self.failed.read(),
            ended,
            bytes_to_targets: self.bytes_to_targets.load(Relaxed),
            bytes_to_clients: self.bytes_to_clients.load(Relaxed),
        }
    }
}
