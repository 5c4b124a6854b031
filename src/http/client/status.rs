use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    error::{ClientError, ClientErrorKind, chain},
    escape::Escaped,
    named::SharedName,
};

counts! {
    /// Counts connections that could not be opened, by the reason.
    pub struct ConnectFailures, ConnectCounters by ConnectFailure {
        /// The endpoint refused the connection.
        refused: Refused,
        /// The connection was not open within
        /// [`Pool::connect_timeout`](crate::http::Pool::connect_timeout), or within the time of the
        /// operating system.
        timed_out: TimedOut,
        /// The TLS handshake failed, or the pool has no TLS.
        tls: Tls,
        /// Another error, such as a host without an address or a network that cannot be reached.
        other: Other,
    }
}

/// The connections of a [`Pool`](crate::http::Pool), over all of its clones and their clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStatus {
    /// The name of the pool.
    pub name: Arc<str>,
    /// Connections that are open now: in use, or kept. A connection that has become a tunnel is not
    /// counted.
    pub open: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that could not be opened.
    pub failed: ConnectFailures,
}

impl fmt::Display for PoolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, open, opened, failed } = self;
        let total = failed.total();
        write!(
            f,
            "{}: {open} of {opened} connections open, {total} failed ({failed})",
            Escaped(name)
        )
    }
}

/// The atomics behind a [`PoolStatus`].
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) name: SharedName,
    open: AtomicU64,
    opened: AtomicU64,
    failed: ConnectCounters,
}

impl Counters {
    pub(super) fn new() -> Self {
        let (open, opened) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { name: SharedName::new("pool"), open, opened, failed: ConnectCounters::default() }
    }

    pub(super) fn status(&self) -> PoolStatus {
        PoolStatus {
            name: self.name.get(),
            open: self.open.load(Relaxed),
            opened: self.opened.load(Relaxed),
            failed: self.failed.read(),
        }
    }

    /// Counts a connection that is open until the result is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.opened.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    pub(super) fn count_failure(&self, error: &ClientError) {
        let kind = chain(error).find_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()));
        self.failed.count(match (error.kind(), kind) {
            (_, Some(io::ErrorKind::TimedOut)) => ConnectFailure::TimedOut,
            (ClientErrorKind::Tls, _) => ConnectFailure::Tls,
            (_, Some(io::ErrorKind::ConnectionRefused)) => ConnectFailure::Refused,
            _ => ConnectFailure::Other,
        });
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Counters>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
