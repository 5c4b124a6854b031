use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{escape::Escaped, named::SharedName};

counts! {
    /// Counts datagrams that were dropped, by the reason.
    pub struct UdpDrops, UdpDropCounters by DropReason {
        /// An empty datagram, which begins no flow.
        empty: Empty,
        /// The datagram was longer than `max_datagram_bytes`, or than the way to its receiver
        /// allows.
        too_large: TooLarge,
        /// It came from the relay's own address, or its target is the relay itself.
        looping: Looping,
        /// The flows of the source had reached its share.
        source_full: SourceFull,
        /// The table was full of established flows.
        table_full: TableFull,
        /// No endpoint was available, or none took the flow within `open_timeout`.
        unavailable: Unavailable,
        /// There was no file descriptor or no port for another socket.
        no_socket: NoSocket,
        /// A later datagram of the flow came while its endpoint was not picked.
        overtaken: Overtaken,
        /// The flow has lost its target, and may not get another.
        target_lost: TargetLost,
        /// The target refused the datagram.
        refused: Refused,
        /// The buffer of the socket to the receiver was full.
        queue_full: QueueFull,
        /// The datagram could not be sent, or the exchange failed, for another reason.
        failed: Failed,
        /// A newer request or flow took the place: of the oldest request, or of the oldest flow
        /// without a reply, whose datagram waited for an endpoint.
        displaced: Displaced,
        /// There was no reply in time, all attempts included.
        timeout: Timeout,
        /// The relay is stopping, and begins no flow, or it stopped while the datagram waited for
        /// an endpoint.
        stopping: Stopping,
    }
}

counts! {
    /// Counts flows that have ended, by the cause.
    pub struct UdpFlowEnds, UdpFlowEndCounters by FlowEnd {
        /// It was idle for `idle_timeout`.
        idle: Idle,
        /// It had no reply yet, and another new flow took its place.
        evicted: Evicted,
        /// No endpoint took it.
        unopened: Unopened,
        /// It was open when the relay stopped.
        stopped: Stopped,
    }
}

/// What a [`UdpRelay`](super::UdpRelay) has done since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UdpRelayStatus {
    /// The name of the relay.
    pub name: Arc<str>,
    /// Flows that are in the table now.
    pub flows: u64,
    /// Flows that have begun.
    pub flows_created: u64,
    /// Flows that have ended, by the cause.
    pub flows_ended: UdpFlowEnds,
    /// How often a flow got another target because its own was removed or unhealthy, or refused a
    /// datagram.
    pub repicked: u64,
    /// Datagrams that came from clients.
    pub datagrams_in: u64,
    /// Their payload in bytes.
    pub bytes_in: u64,
    /// Replies that were sent to clients.
    pub datagrams_out: u64,
    /// Their payload in bytes.
    pub bytes_out: u64,
    /// Datagrams of both directions that were dropped, by the reason.
    pub dropped: UdpDrops,
}

impl fmt::Display for UdpRelayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, flows, flows_created, datagrams_in, datagrams_out, dropped, .. } = self;
        write!(
            f,
            "{}: {flows} of {flows_created} flows open, {datagrams_in} datagrams in, \
             {datagrams_out} out, {} dropped ({dropped})",
            Escaped(name),
            dropped.total()
        )
    }
}

/// What a [`UdpResponder`](super::UdpResponder) has done since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UdpResponderStatus {
    /// The name of the responder.
    pub name: Arc<str>,
    /// Requests that have no reply yet.
    pub in_flight: u64,
    /// Datagrams that came from clients.
    pub datagrams_in: u64,
    /// Their payload in bytes.
    pub bytes_in: u64,
    /// Replies that were sent to clients.
    pub datagrams_out: u64,
    /// Their payload in bytes.
    pub bytes_out: u64,
    /// Datagrams of both directions that were dropped, by the reason.
    pub dropped: UdpDrops,
}

impl fmt::Display for UdpResponderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, in_flight, datagrams_in, datagrams_out, dropped, .. } = self;
        write!(
            f,
            "{}: {in_flight} of {datagrams_in} requests in flight, {datagrams_out} replies, {} \
             dropped ({dropped})",
            Escaped(name),
            dropped.total()
        )
    }
}

/// The atomics behind the statuses.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) name: SharedName,
    /// Flows, or requests in flight.
    pub(super) open: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) ended: UdpFlowEndCounters,
    pub(super) repicked: AtomicU64,
    datagrams_in: AtomicU64,
    bytes_in: AtomicU64,
    datagrams_out: AtomicU64,
    bytes_out: AtomicU64,
    dropped: UdpDropCounters,
}

impl Counters {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name: SharedName::new(name),
            open: AtomicU64::new(0),
            created: AtomicU64::new(0),
            ended: UdpFlowEndCounters::default(),
            repicked: AtomicU64::new(0),
            datagrams_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            datagrams_out: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            dropped: UdpDropCounters::default(),
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        self.datagrams_in.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn replied(&self, bytes: usize) {
        self.datagrams_out.fetch_add(1, Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_drop(&self, reason: DropReason) {
        self.dropped.count(reason);
    }

    pub(super) fn relay_status(&self) -> UdpRelayStatus {
        UdpRelayStatus {
            name: self.name.get(),
            flows: self.open.load(Relaxed),
            flows_created: self.created.load(Relaxed),
            flows_ended: self.ended.read(),
            repicked: self.repicked.load(Relaxed),
            datagrams_in: self.datagrams_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            datagrams_out: self.datagrams_out.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            dropped: self.dropped.read(),
        }
    }

    pub(super) fn responder_status(&self) -> UdpResponderStatus {
        UdpResponderStatus {
            name: self.name.get(),
            in_flight: self.open.load(Relaxed),
            datagrams_in: self.datagrams_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            datagrams_out: self.datagrams_out.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            dropped: self.dropped.read(),
        }
    }
}
