use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    escape::Escaped,
    flow::FlowCounts,
    geneve::{DecodeError, PacketError},
    named::weak_status,
};

counts! {
    /// Counts packets that a [`Gateway`](super::Gateway) has dropped, by the reason.
    pub struct GatewayDrops, DropCounters by DropReason {
        /// A packet from the network was no valid IP packet.
        unparsable: Unparsable,
        /// A packet from the network was longer than `mtu`.
        too_long: TooLong,
        /// A TCP packet had no flow and opened none, because it was no SYN.
        not_syn: NotSyn,
        /// A later fragment came before its first one, or long after it.
        fragment_without_first: FragmentWithoutFirst,
        /// No appliance could be picked at once.
        no_appliance: NoAppliance,
        /// The picked appliance has the address of the gateway's own socket.
        own_address: OwnAddress,
        /// The table was full of established flows.
        table_full: TableFull,
        /// The source had its share of the table.
        source_full: SourceFull,
        /// Its flow ended with resets, because the appliance had failed.
        reset: Reset,
        /// The socket had no room, or sending failed.
        not_sent: NotSent,
        /// The network had no room for a packet that an appliance let pass, or for a reset.
        not_written: NotWritten,
        /// Receiving from the socket failed.
        not_received: NotReceived,
        /// A datagram ended within its header, or its options did not add up.
        malformed_header: MalformedHeader,
        /// A datagram was of another version of GENEVE.
        wrong_version: WrongVersion,
        /// A datagram had an unknown option that is critical.
        unknown_critical_option: UnknownCriticalOption,
        /// A datagram did not have the three options of a Gateway Load Balancer.
        wrong_options: WrongOptions,
        /// A datagram was a control message.
        control: Control,
        /// The payload of a datagram was of another protocol than IPv4 and IPv6.
        wrong_protocol: WrongProtocol,
        /// The inner packet of a datagram was invalid.
        unparsable_return: UnparsableReturn,
        /// A returned packet belongs to no flow: the flow has ended, or the appliance has changed
        /// addresses or ports.
        unknown_flow: UnknownFlow,
        /// A returned packet came from another address than that of the flow's appliance.
        wrong_appliance: WrongAppliance,
        /// A returned packet had other options than those that were sent with its flow.
        wrong_cookie: WrongCookie,
    }
}

impl From<PacketError> for DropReason {
    fn from(_: PacketError) -> Self {
        Self::Unparsable
    }
}

impl From<DecodeError> for DropReason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated | DecodeError::OptionOverrun => Self::MalformedHeader,
            DecodeError::Version(_) => Self::WrongVersion,
            DecodeError::UnknownCriticalOption { .. } => Self::UnknownCriticalOption,
            DecodeError::MissingOption | DecodeError::InvalidOption => Self::WrongOptions,
            DecodeError::Control => Self::Control,
            DecodeError::Protocol(_) => Self::WrongProtocol,
            DecodeError::Packet(_) => Self::UnparsableReturn,
        }
    }
}

/// The packets and flows of a [`Gateway`](super::Gateway) since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GatewayStatus {
    /// The name of the gateway.
    pub name: Arc<str>,
    /// Flows that are tracked now.
    pub flows: u64,
    /// Flows that began.
    pub flows_created: u64,
    /// Flows that were idle for their timeout.
    pub flows_expired: u64,
    /// New flows, without a packet of the other side, that had to make room for newer ones.
    pub flows_evicted: u64,
    /// Flows that got another appliance because theirs had failed.
    pub rebalanced: u64,
    /// Packets that came from the network.
    pub packets_in: u64,
    /// Bytes of the packets that came from the network.
    pub bytes_in: u64,
    /// Packets that were sent to appliances.
    pub packets_sent: u64,
    /// Packets that appliances let pass, and that went back to the network.
    pub packets_passed: u64,
    /// Bytes of the packets that went back to the network.
    pub bytes_passed: u64,
    /// Resets that were sent to sides of TCP connections.
    pub resets: u64,
    /// Packets that were dropped, by the reason. What appliances drop is not among them.
    pub dropped: GatewayDrops,
}

impl fmt::Display for GatewayStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            flows,
            flows_created,
            packets_in,
            packets_sent,
            packets_passed,
            dropped,
            ..
        } = self;
        write!(
            f,
            "{}: {flows} of {flows_created} flows tracked, {packets_in} packets in, {packets_sent} sent to \
             appliances, {packets_passed} passed, {} dropped ({dropped})",
            Escaped(name),
            dropped.total()
        )
    }
}

/// Reads the status of a [`Gateway`](super::Gateway), also after it has ended.
#[derive(Clone, Debug)]
pub struct GatewayMonitor(pub(super) Arc<Counters>);

impl GatewayMonitor {
    /// Returns what has been counted so far.
    #[must_use]
    pub fn status(&self) -> GatewayStatus {
        self.0.read()
    }

    /// Returns a function that reads the status until the gateway and its monitors are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<GatewayStatus> + Send + Sync + use<> {
        weak_status(&self.0, Counters::read)
    }

    /// Returns the address of what all monitors of the gateway share.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

/// The atomics behind a [`GatewayStatus`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    name: Arc<str>,
    flows: AtomicU64,
    created: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    rebalanced: AtomicU64,
    packets_in: AtomicU64,
    bytes_in: AtomicU64,
    packets_sent: AtomicU64,
    packets_passed: AtomicU64,
    bytes_passed: AtomicU64,
    resets: AtomicU64,
    dropped: DropCounters,
}

impl Counters {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) fn dropped(&self, reason: DropReason) {
        self.dropped.count(reason);
    }

    pub(super) fn entered(&self, bytes: usize) {
        self.packets_in.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn sent(&self) {
        self.packets_sent.fetch_add(1, Relaxed);
    }

    pub(super) fn passed(&self, bytes: usize) {
        self.packets_passed.fetch_add(1, Relaxed);
        self.bytes_passed.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    pub(super) fn rebalanced(&self) {
        self.rebalanced.fetch_add(1, Relaxed);
    }

    /// Publishes the figures of the table, which only its owner can read.
    pub(super) fn publish(&self, flows: usize, counts: FlowCounts) {
        self.flows.store(flows as u64, Relaxed);
        self.created.store(counts.created, Relaxed);
        self.expired.store(counts.expired, Relaxed);
        self.evicted.store(counts.evicted, Relaxed);
    }

    fn read(&self) -> GatewayStatus {
        GatewayStatus {
            name: Arc::clone(&self.name),
            flows: self.flows.load(Relaxed),
            flows_created: self.created.load(Relaxed),
            flows_expired: self.expired.load(Relaxed),
            flows_evicted: self.evicted.load(Relaxed),
            rebalanced: self.rebalanced.load(Relaxed),
            packets_in: self.packets_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            packets_sent: self.packets_sent.load(Relaxed),
            packets_passed: self.packets_passed.load(Relaxed),
            bytes_passed: self.bytes_passed.load(Relaxed),
            resets: self.resets.load(Relaxed),
            dropped: self.dropped.read(),
        }
    }
}
