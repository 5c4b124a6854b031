use std::sync::Arc;

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{
    address_limit::AddressLimit,
    limits::Limits,
    status::{Counters, ListenerStatus, Refusal},
};
use crate::{
    log_limit::LogLimit,
    sync::{Mutex, lock},
};

/// What the sockets and connections of a listener share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) http2: bool,
    pub(super) addresses: Option<Arc<AddressLimit>>,
    /// TLS handshakes that may run at a time.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(super) handshakes: Semaphore,
    pub(super) counters: Counters,
    phase: watch::Sender<Phase>,
    /// The origin of the times in [`Activity`](super::connection::Activity).
    pub(super) start: Instant,
    refusals_logged: Mutex<LogLimit>,
}

/// Where a listener is in its life. It only moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Connections are accepted.
    Serving,
    /// The listening sockets are closed, and connections end when they can.
    Draining,
    /// Connections end at once.
    CutOff,
}

impl Core {
    pub(super) fn new(limits: Limits, http2: bool) -> Self {
        Self {
            addresses: limits.connections_per_address.map(AddressLimit::new).map(Arc::new),
            handshakes: Semaphore::new(limits.handshakes),
            counters: Counters::new(),
            phase: watch::Sender::new(Phase::Serving),
            start: Instant::now(),
            refusals_logged: Mutex::default(),
            limits,
            http2,
        }
    }

    pub(super) fn status(&self) -> ListenerStatus {
        self.counters.status()
    }

    /// Moves on to `phase`, or stays if it is there or beyond.
    pub(super) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let moves = *current < phase;
            if moves {
                *current = phase;
            }
            moves
        });
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the listener is in `phase`, or beyond.
    pub(super) async fn until(&self, phase: Phase) {
        // An error would mean that the sender is gone, which `self` has.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Logs a refused connection, at most one per minute: a client must not fill the log.
    pub(super) fn log_refusal(
        &self,
        refusal: Refusal,
        peer: &dyn std::fmt::Display,
        reason: &dyn std::fmt::Display,
    ) {
        let Some(suppressed) = lock(&self.refusals_logged).pass() else { return };
        let listener = self.counters.name.get();
        tracing::warn!(
            %listener, %peer, refusal = refusal.as_str(), %reason, suppressed, "connection refused"
        );
    }
}
