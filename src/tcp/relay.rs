use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context, Poll},
};

use tokio::sync::Notify;
use tower_service::Service;

use super::{Connection, Session, connect::connect, relays::Shared};
use crate::{
    error::RelayError,
    future::until,
    sync::{Mutex, lock},
};

/// The service of one target: it connects, and the response relays.
///
/// The response future ends when the target is connected and the PROXY header and the TLS handshake
/// are done. The client's stream is taken only then, so an attempt that fails or is dropped leaves
/// it to the next one: see [`Connection`]. The response is a [`Session`], which the listener
/// awaits.
///
/// [`Relays`](super::Relays) has the settings. Clones are for the same target.
#[derive(Clone)]
pub struct Relay {
    state: Arc<TargetState>,
}

/// A target.
pub(super) struct TargetState {
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    /// How often the connections were ended.
    terminations: AtomicU64,
    /// Wakes the connections that are ended.
    terminated: Notify,
    /// Held while connections are counted as ended and then woken. A connection that began between
    /// the two would be woken for an end that is not its own, and would miss the next.
    terminating: Mutex<()>,
}

impl TargetState {
    /// Returns how often the connections were ended, for a connection that begins.
    pub(super) fn terminations(&self) -> u64 {
        let _none_is_ended = lock(&self.terminating);
        self.terminations.load(Acquire)
    }

    /// Waits until the connections are ended that began after `terminations`.
    pub(super) async fn until_terminated(&self, terminations: u64) {
        until(&self.terminated, || self.terminations.load(Acquire) != terminations).await;
    }

    fn terminate(&self) {
        let _none_begins = lock(&self.terminating);
        self.terminations.fetch_add(1, Release);
        self.terminated.notify_waiters();
    }
}

impl Relay {
    pub(super) fn new(address: SocketAddr, shared: Arc<Shared>) -> Self {
        let state = TargetState {
            address,
            shared,
            terminations: AtomicU64::new(0),
            terminated: Notify::new(),
            terminating: Mutex::new(()),
        };
        Self { state: Arc::new(state) }
    }

    /// Returns the address of the target.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.state.address
    }

    /// Ends the connections to the target that are open now, with a reset of both sides. Later
    /// connections are relayed. [`Termination`](super::Termination) calls it when a target is
    /// removed or becomes unhealthy.
    pub fn terminate_connections(&self) {
        self.state.terminate();
    }

    /// Returns true if both are for the same target, and ended together.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    pub(super) fn state(&self) -> &Arc<TargetState> {
        &self.state
    }
}

impl Service<Connection> for Relay {
    type Response = Session;
    type Error = RelayError;
    type Future = Pin<Box<dyn Future<Output = Result<Session, RelayError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        Box::pin(connect(Arc::clone(&self.state), connection))
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("target", &self.state.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::super::Relays;

    #[test]
    fn only_connections_that_began_before_are_ended() {
        let relays = Relays::builder().build().unwrap();
        let relay = relays.relay(([192, 0, 2, 1], 80).into());
        let state = relay.state();
        let began = state.terminations();
        let mut relayed = spawn(state.until_terminated(began));
        assert!(relayed.poll().is_pending());
        // This one has not been polled when the connections are ended.
        let mut connected = spawn(state.until_terminated(began));
        relay.terminate_connections();
        assert!(relayed.is_woken() && relayed.poll().is_ready());
        assert!(connected.poll().is_ready());

        let mut later = spawn(state.until_terminated(state.terminations()));
        assert!(later.poll().is_pending());
        relay.terminate_connections();
        assert!(later.is_woken() && later.poll().is_ready());
    }
}
