use tokio::time::Instant;

use super::{Stickiness, builder::class, tcp_state::TcpState};
use crate::{
    geneve::{Assigned, Packet, appliances::Standing, packet::TCP},
    outcome::Outcome,
};

/// The state of one flow.
pub(super) struct TrackedFlow {
    assigned: Assigned,
    /// The appliance's number of failures when the flow was assigned to it.
    failures: u32,
    /// What the appliance must return with the packets.
    pub(super) cookie: u32,
    /// Whether the key's source has opened the flow.
    pub(super) opened_by_source: bool,
    /// When it may ask for another appliance again.
    pub(super) next_pick: Option<Instant>,
    pub(super) tcp: Option<TcpState>,
    /// Whether the other side has sent something.
    pub(super) has_reply: bool,
    /// The index of its idle timeout.
    pub(super) class: u8,
}

impl TrackedFlow {
    pub(super) fn new(assigned: Assigned, cookie: u32, opened_by_source: bool, class: u8) -> Self {
        let (_, failures) = assigned.appliance().standing();
        let (next_pick, tcp, has_reply) = (None, None, false);
        Self { assigned, failures, cookie, opened_by_source, next_pick, tcp, has_reply, class }
    }

    pub(super) fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// Returns the standing of its appliance, and whether it has failed since the flow came. A flow
    /// that came to a failed appliance, because all had failed, stays.
    pub(super) fn standing(&self) -> (Standing, bool) {
        let (standing, failures) = self.assigned.appliance().standing();
        (standing, standing != Standing::Serving && failures != self.failures)
    }

    /// Records what a packet says of the TCP connection, and how long the flow is to live.
    pub(super) fn observe(&mut self, packet: &Packet, from_source: bool, stickiness: Stickiness) {
        if packet.protocol() != TCP {
            return;
        }
        self.class = class::TCP;
        // Other flows have many connections, whose numbers differ.
        if let (Some(segment), Stickiness::FiveTuple) = (packet.tcp, stickiness) {
            let tcp = self.tcp.get_or_insert_default();
            tcp.observe(&segment, from_source);
            if tcp.is_closed() {
                self.class = class::CLOSED;
            }
        }
    }

    /// Moves the flow to another appliance.
    pub(super) fn reassign(&mut self, assigned: Assigned, cookie: u32) {
        let (standing, _) = self.standing();
        (_, self.failures) = assigned.appliance().standing();
        self.cookie = cookie;
        // The interval is for flows that found no serving appliance.
        self.next_pick = None;
        end(std::mem::replace(&mut self.assigned, assigned), standing);
    }

    /// Ends the flow because its appliance has failed.
    pub(super) fn fail(self) {
        let (standing, _) = self.standing();
        end(self.assigned, standing);
    }

    /// Ends the flow because it was idle.
    pub(super) fn expire(self) {
        self.assigned.finish(Outcome::Success);
    }
}

fn end(assigned: Assigned, standing: Standing) {
    if standing == Standing::Unhealthy {
        assigned.finish(Outcome::TransportFailure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway has many of them.
    #[test]
    fn a_flow_takes_little_memory() {
        assert!(size_of::<TrackedFlow>() <= 168, "{}", size_of::<TrackedFlow>());
    }
}
