use super::{Flow, FlowSocket};
use crate::outcome::{Attempt, Attempts, Carry, Follow, Track};

/// The tracker of flows: a flow is in flight from the pick until it has ended.
///
/// | the flow ended | outcome |
/// |---|---|
/// | after a reply | [`Success`](crate::outcome::Outcome::Success) |
/// | without a reply | [`Cancelled`](crate::outcome::Outcome::Cancelled), or [`Timeout`](crate::outcome::Outcome::Timeout) if the relay [expects replies](super::UdpRelayBuilder::expect_replies) and the flow was idle |
/// | because the target refused a datagram | [`TransportFailure`](crate::outcome::Outcome::TransportFailure) |
///
/// The latency of a flow is the time until its first reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilFlowEnd;

/// The socket of a flow and its attempt, which a balancer with [`UntilFlowEnd`] responds with.
#[derive(Debug)]
pub struct OpenFlow {
    pub(super) socket: FlowSocket,
    pub(super) attempt: Attempt,
}

impl Track<FlowSocket> for UntilFlowEnd {
    type Response = OpenFlow;

    fn response(&self, socket: FlowSocket, attempt: Attempt) -> OpenFlow {
        OpenFlow { socket, attempt }
    }
}

impl Follow<Flow> for UntilFlowEnd {
    fn attempts<'r>(&self, flow: &'r Flow) -> Option<&'r Attempts> {
        Carry::attempts(flow)
    }
}
