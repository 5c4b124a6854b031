use std::sync::{
    Arc,
    atomic::{
        AtomicU8,
        Ordering::{AcqRel, Acquire},
    },
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use super::{
    address_limit::AddressLimit,
    limits::Limits,
    status::{Counters, ListenerStatus, Refusal},
};
use crate::{
    future::until,
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
    /// A [`Phase`].
    phase: AtomicU8,
    /// Each wakes those who wait for its phase, once.
    draining: Notify,
    cut_off: Notify,
    /// The origin of the times in [`Activity`](super::connection::Activity).
    pub(super) start: Instant,
    refusals_logged: Mutex<LogLimit>,
}

/// Where a listener is in its life. It only moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
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
            phase: AtomicU8::new(Phase::Serving as u8),
            draining: Notify::new(),
            cut_off: Notify::new(),
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
        let before = self.phase.fetch_max(phase as u8, AcqRel);
        for (reached, signal) in [(Phase::Draining, &self.draining), (Phase::CutOff, &self.cut_off)]
        {
            if before < reached as u8 && reached <= phase {
                signal.notify_waiters();
            }
        }
    }

    pub(super) fn phase(&self) -> Phase {
        const SERVING: u8 = Phase::Serving as u8;
        const DRAINING: u8 = Phase::Draining as u8;
        match self.phase.load(Acquire) {
            SERVING => Phase::Serving,
            DRAINING => Phase::Draining,
            _ => Phase::CutOff,
        }
    }

    /// Waits until the listener drains, or is beyond that.
    pub(super) async fn until_draining(&self) {
        until(&self.draining, || self.phase() >= Phase::Draining).await;
    }

    /// Waits until connections are cut off.
    pub(super) async fn until_cut_off(&self) {
        until(&self.cut_off, || self.phase() >= Phase::CutOff).await;
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

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;

    fn core() -> Core {
        Core::new(Limits::default(), true)
    }

    #[tokio::test]
    async fn phases_only_move_on_and_wake_those_who_wait() {
        let core = core();
        let mut draining = spawn(core.until_draining());
        let mut cut_off = spawn(core.until_cut_off());
        assert!(draining.poll().is_pending() && cut_off.poll().is_pending());
        core.advance(Phase::Draining);
        assert!(draining.is_woken() && draining.poll().is_ready());
        assert!(!cut_off.is_woken() && cut_off.poll().is_pending());
        core.advance(Phase::CutOff);
        assert!(cut_off.is_woken() && cut_off.poll().is_ready());
        core.advance(Phase::Draining);
        assert_eq!(core.phase(), Phase::CutOff);
        core.until_draining().await;
        core.until_cut_off().await;
    }

    #[tokio::test]
    async fn a_phase_that_is_skipped_is_announced() {
        let core = core();
        let mut draining = spawn(core.until_draining());
        assert!(draining.poll().is_pending());
        core.advance(Phase::CutOff);
        assert!(draining.is_woken() && draining.poll().is_ready());
    }
}
