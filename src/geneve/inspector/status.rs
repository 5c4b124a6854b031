use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{escape::Escaped, geneve::DecodeError, named::weak_status};

counts! {
    /// Counts packets that an [`Inspector`](super::Inspector) has not returned, by the reason.
    pub struct InspectorDrops, DropCounters by DropReason {
        /// The service has decided to drop it.
        rejected: Rejected,
        /// The service has failed.
        failed: Failed,
        /// The service has returned a packet of the other version of IP.
        other_version: OtherVersion,
        /// The socket had no room, or sending failed.
        not_sent: NotSent,
        /// Receiving from the socket failed.
        not_received: NotReceived,
        /// The datagram ended within its header, or its options did not add up.
        malformed_header: MalformedHeader,
        /// The datagram was of another version of GENEVE.
        wrong_version: WrongVersion,
        /// The datagram had an unknown option that is critical.
        unknown_critical_option: UnknownCriticalOption,
        /// The datagram did not have the three options of a Gateway Load Balancer.
        wrong_options: WrongOptions,
        /// The datagram was a control message.
        control: Control,
        /// The payload of the datagram was of another protocol than IPv4 and IPv6.
        wrong_protocol: WrongProtocol,
        /// The inner packet was invalid.
        unparsable: Unparsable,
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
            DecodeError::Packet(_) => Self::Unparsable,
        }
    }
}

/// The packets of an [`Inspector`](super::Inspector) since it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct InspectorStatus {
    /// The name of the inspector.
    pub name: Arc<str>,
    /// Packets that were received.
    pub received: u64,
    /// Packets that were returned.
    pub returned: u64,
    /// Packets that were not returned, by the reason.
    pub dropped: InspectorDrops,
}

impl fmt::Display for InspectorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, received, returned, dropped } = self;
        write!(
            f,
            "{}: {returned} of {received} packets returned, {} dropped ({dropped})",
            Escaped(name),
            dropped.total()
        )
    }
}

/// Reads the status of an [`Inspector`](super::Inspector), also after it has ended.
#[derive(Clone, Debug)]
pub struct InspectorMonitor(pub(super) Arc<Counters>);

impl InspectorMonitor {
    /// Returns what has been counted so far.
    #[must_use]
    pub fn status(&self) -> InspectorStatus {
        self.0.read()
    }

    /// Returns a function that reads the status until the inspector and its monitors are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<InspectorStatus> + Send + Sync + use<> {
        weak_status(&self.0, Counters::read)
    }

    /// Returns the address of what all monitors of the inspector share.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

/// The atomics behind an [`InspectorStatus`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    name: Arc<str>,
    received: AtomicU64,
    returned: AtomicU64,
    dropped: DropCounters,
}

impl Counters {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, ..Self::default() }
    }

    fn read(&self) -> InspectorStatus {
        InspectorStatus {
            name: Arc::clone(&self.name),
            received: self.received.load(Relaxed),
            returned: self.returned.load(Relaxed),
            dropped: self.dropped.read(),
        }
    }

    pub(super) fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(super) fn returned(&self) {
        self.returned.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self, reason: DropReason) {
        self.dropped.count(reason);
    }
}
