use std::{io, net::SocketAddr, pin::Pin, task::Waker};

use crate::{
    BoxError,
    flow::FlowKey,
    outcome::{Attempts, Outcome},
    udp::{OpenFlow, ServerId},
};

/// The key of a flow in the table: one client port may have flows to several servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionKey {
    pub(super) flow: FlowKey,
    /// Set only if the flow without it has another server.
    pub(super) server_id: Option<ServerId>,
}

/// A flow in the table.
pub(super) struct Session {
    /// Tells it from an earlier flow of the same key.
    pub(super) number: u64,
    /// Where replies go. The key has it without the scope of a link-local address, and an IPv4
    /// address as such, which a socket of IPv6 can't send to.
    pub(super) client: SocketAddr,
    /// Marks the flow as one to poll.
    pub(super) waker: Waker,
    pub(super) state: SessionState,
}

pub(super) enum SessionState {
    /// The next datagram picks a target, another one than those that have failed.
    Vacant { failed: Option<Attempts> },
    /// A target is being picked, for the last datagram of the client.
    Opening { opening: Opening, datagram: Box<[u8]> },
    Open {
        open: OpenFlow,
        failed: Option<Failed>,
        /// A reply has come from this target.
        has_reply: bool,
    },
    /// Datagrams are dropped.
    Lost,
}

/// Waits for an error of the socket: a refused datagram wakes no reader. `None` if refusals are
/// ignored.
pub(super) type Failed = Pin<Box<dyn Future<Output = io::Error> + Send>>;

pub(super) type Opening = Pin<Box<dyn Future<Output = Result<OpenFlow, BoxError>> + Send>>;

impl Session {
    pub(super) fn new(number: u64, client: SocketAddr) -> Self {
        let state = SessionState::Vacant { failed: None };
        // The waker is made once the table has taken the flow.
        Self { number, client, waker: Waker::noop().clone(), state }
    }

    /// Records the outcome of the present attempt, if there is one. `unanswered` is that of a flow
    /// without a reply.
    pub(super) fn finish(self, unanswered: Outcome) {
        if let SessionState::Open { open, has_reply, .. } = self.state {
            open.attempt.finish(if has_reply { Outcome::Success } else { unanswered });
        }
    }
}
