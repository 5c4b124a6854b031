use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::watch;
use tower_service::Service;

use super::{Connection, Session, connect::connect, relays::Shared};
use crate::error::RelayError;

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
    /// Each session is a receiver; a new value ends them.
    sessions: watch::Sender<()>,
}

impl TargetState {
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.sessions.subscribe()
    }
}

impl Relay {
    pub(super) fn new(address: SocketAddr, shared: Arc<Shared>) -> Self {
        Self { state: Arc::new(TargetState { address, shared, sessions: watch::Sender::new(()) }) }
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
        self.state.sessions.send_replace(());
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
