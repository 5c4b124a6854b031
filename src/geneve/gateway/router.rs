use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    ApplianceFailover, GatewayBuilder,
    builder::class,
    flow_keys::FlowKeys,
    status::{Counters, DropReason},
    tracked_flow::TrackedFlow,
};
use crate::{
    ConfigError,
    flow::{FlowKey, FlowTable, Refusal},
    geneve::{
        Appliance, Assigned, AwsOptions, NewFlow, Packet,
        appliances::Standing,
        decode,
        packet::{TCP, answer_to},
    },
};

/// Decides what happens with each packet, and keeps the flows. It does no I/O.
pub(super) struct Router<B> {
    settings: GatewayBuilder,
    keys: FlowKeys,
    flows: FlowTable<TrackedFlow>,
    balancer: B,
    hash_seed: u64,
    /// Makes cookies. A sender that does not know its key cannot guess one.
    cookies: RandomState,
    /// The address of the gateway's socket, to which no packet must be sent.
    own_address: Option<SocketAddr>,
    /// Resets that are to be written to the network.
    resets: Vec<Bytes>,
    pub(super) counters: Arc<Counters>,
}

/// A packet for an appliance.
pub(super) struct Outgoing {
    pub(super) appliance: SocketAddr,
    pub(super) header: [u8; 40],
    pub(super) packet: Bytes,
}

/// The time between two attempts to find another appliance for a flow.
const PICK_INTERVAL: Duration = Duration::from_secs(1);

/// The flows that end at once. Their resets are written before those of the next ones are made.
const MAX_EXPIRED_AT_ONCE: usize = 256;

impl<B> Router<B> {
    pub(super) fn new(
        settings: GatewayBuilder,
        flows: FlowTable<TrackedFlow>,
        hash_seed: u64,
        balancer: B,
    ) -> Result<Self, ConfigError> {
        let keys = FlowKeys::new(&settings)?;
        let (cookies, counters) =
            (RandomState::new(), Arc::new(Counters::new(settings.name.clone())));
        let (own_address, resets) = (None, Vec::new());
        Ok(Self {
            settings,
            keys,
            flows,
            balancer,
            hash_seed,
            cookies,
            own_address,
            resets,
            counters,
        })
    }

    pub(super) fn set_own_address(&mut self, address: Option<SocketAddr>) {
        self.own_address = address;
    }

    /// Takes a reset that is to be written to the network.
    pub(super) fn next_reset(&mut self) -> Option<Bytes> {
        self.resets.pop()
    }

    /// Ends flows that were idle for their timeout, up to [`MAX_EXPIRED_AT_ONCE`].
    pub(super) fn expire(&mut self, now: Instant) {
        for _ in 0..MAX_EXPIRED_AT_ONCE {
            let Some((key, flow)) = self.flows.pop_expired(now) else { break };
            self.expired(&key, flow);
        }
        self.keys.expire(now);
    }

    fn expired(&mut self, key: &FlowKey, flow: TrackedFlow) {
        if self.settings.resets.on_idle {
            self.reset_both(key, &flow);
        }
        flow.expire();
    }

    fn reset_both(&mut self, key: &FlowKey, flow: &TrackedFlow) {
        self.resets.extend(flow.tcp.iter().flat_map(|tcp| tcp.resets(key)));
    }

    /// Returns when [`expire`](Self::expire) is to be called next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.flows.next_expiry().into_iter().chain(self.keys.next_expiry()).min()
    }

    pub(super) fn publish(&self) {
        self.counters.publish(self.flows.len(), self.flows.counts());
    }

    /// Checks a datagram that came to the socket, and returns the packet that goes back to the
    /// network.
    pub(super) fn returned(
        &mut self,
        datagram: Bytes,
        from: SocketAddr,
        now: Instant,
    ) -> Result<Bytes, DropReason> {
        let (_, packet) = decode(datagram)?;
        let key = self.keys.find(&packet, now).map_err(|_| DropReason::UnknownFlow)?.symmetric();
        // Not `get`: what appliances send must not keep a flow alive that both sides have left.
        let flow = self.flows.peek(&key, now).ok_or(DropReason::UnknownFlow)?;
        if !is_same(flow.assigned().appliance().address(), from) {
            return Err(DropReason::WrongAppliance);
        }
        if packet.options() != Some(&self.settings.options(flow.cookie)) {
            return Err(DropReason::WrongCookie);
        }
        Ok(packet.as_bytes().clone())
    }

    fn cookie(&self, key: &FlowKey, assigned: &Assigned) -> u32 {
        self.cookies.hash_one((key, assigned.appliance().address())) as u32
    }
}

impl<B: Service<NewFlow, Response = Assigned>> Router<B> {
    /// Finds the appliance for a packet that came from the network.
    pub(super) fn entered(&mut self, bytes: Bytes, now: Instant) -> Result<Outgoing, DropReason> {
        if bytes.len() > usize::from(self.settings.mtu) {
            return Err(DropReason::TooLong);
        }
        let packet = Packet::parse(bytes)?;
        let directed = self.keys.learn(&packet, now)?;
        let key = directed.symmetric();
        let from_source = directed == key;
        // A flow that has expired counts as none: it is idle, and not removed yet.
        let Some(flow) = self.flows.get(&key, now) else {
            return self.opened(key, from_source, packet, now);
        };
        if flow.standing().0 != Standing::Serving {
            self.leave(&key, &packet, now)?;
        }
        self.forward(&key, from_source, packet, now)
    }

    /// Lets a packet open a flow.
    fn opened(
        &mut self,
        key: FlowKey,
        from_source: bool,
        packet: Packet,
        now: Instant,
    ) -> Result<Outgoing, DropReason> {
        let is_tcp = packet.protocol() == TCP;
        if is_tcp && !packet.tcp.is_some_and(|segment| segment.opens()) {
            if self.settings.resets.on_idle {
                self.resets.extend(answer_to(&packet));
            }
            return Err(DropReason::NotSyn);
        }
        let assigned = self.pick(&key, &packet).ok_or(DropReason::NoAppliance)?;
        if self.is_own(assigned.appliance()) {
            return Err(DropReason::OwnAddress);
        }
        let cookie = self.cookie(&key, &assigned);
        let class = if is_tcp { class::TCP } else { class::OTHER };
        let flow = TrackedFlow::new(assigned, cookie, from_source, class);
        match self.flows.insert(key, packet.source(), class.into(), flow, now) {
            Err(refused) if refused.reason == Refusal::SourceFull => {
                return Err(DropReason::SourceFull);
            }
            Err(_) => return Err(DropReason::TableFull),
            Ok(Some(removed)) if removed.cause == crate::flow::Removal::Expired => {
                self.expired(&removed.key, removed.value);
            }
            Ok(_) => {}
        }
        self.forward(&key, from_source, packet, now)
    }

    /// Decides about a flow whose appliance does not serve. An error drops the packet.
    fn leave(&mut self, key: &FlowKey, packet: &Packet, now: Instant) -> Result<(), DropReason> {
        // Nothing of a new connection is known to the failed appliance.
        let opens = packet.tcp.is_some_and(|segment| segment.opens());
        if opens || self.settings.failover == ApplianceFailover::Rebalance {
            self.reassign(key, packet, now);
            return Ok(());
        }
        let Some(flow) = self.flows.peek(key, now) else { return Ok(()) };
        let (standing, has_failed) = flow.standing();
        if !self.settings.resets.are_due(standing) || !has_failed || flow.tcp.is_none() {
            return Ok(());
        }
        if let Some(flow) = self.flows.remove(key) {
            self.reset_both(key, &flow);
            flow.fail();
        }
        Err(DropReason::Reset)
    }

    /// Moves a flow to a serving appliance, if there is one.
    fn reassign(&mut self, key: &FlowKey, packet: &Packet, now: Instant) {
        let Some(flow) = self.flows.peek(key, now) else { return };
        if flow.next_pick.is_some_and(|next| now < next) {
            return;
        }
        flow.next_pick = now.checked_add(PICK_INTERVAL);
        // If all have failed, the balancer may pick one of them.
        let Some(assigned) = self.pick(key, packet) else { return };
        let appliance = assigned.appliance();
        if appliance.standing().0 != Standing::Serving || self.is_own(appliance) {
            return;
        }
        let cookie = self.cookie(key, &assigned);
        if let Some(flow) = self.flows.peek(key, now) {
            flow.reassign(assigned, cookie);
            self.counters.rebalanced();
        }
    }

    /// Asks the balancer, which answers at once or not at all.
    fn pick(&mut self, key: &FlowKey, packet: &Packet) -> Option<Assigned> {
        // A packet does not wait, so nothing needs to be woken.
        let context = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(())) = self.balancer.poll_ready(context) else { return None };
        let flow = NewFlow::new(*key, self.hash_seed, packet.clone());
        match pin!(self.balancer.call(flow)).poll(context) {
            Poll::Ready(Ok(assigned)) => Some(assigned),
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// Records what a packet says of its flow, and addresses it to the flow's appliance.
    fn forward(
        &mut self,
        key: &FlowKey,
        from_source: bool,
        packet: Packet,
        now: Instant,
    ) -> Result<Outgoing, DropReason> {
        let flow = self.flows.peek(key, now).ok_or(DropReason::TableFull)?;
        let outgoing = Outgoing {
            appliance: flow.assigned().appliance().address(),
            header: self.settings.options(flow.cookie).encode(packet.ether_type()),
            packet: packet.as_bytes().clone(),
        };
        let class_before = flow.class;
        flow.observe(&packet, from_source, self.settings.stickiness);
        let class = flow.class;
        let is_first_reply = !flow.has_reply && from_source != flow.opened_by_source;
        flow.has_reply |= is_first_reply;
        if is_first_reply {
            self.flows.establish(key, now);
        }
        if class != class_before {
            self.flows.set_class(key, class.into(), now);
        }
        Ok(outgoing)
    }

    /// Returns true if the appliance has the address of the gateway's own socket: the gateway would
    /// take its own packets for answers, and let them pass without an appliance.
    fn is_own(&self, appliance: &Appliance) -> bool {
        let (Some(own), address) = (self.own_address, appliance.address()) else { return false };
        own.port() == address.port()
            && (is_same(own, address) || own.ip().is_unspecified() && appliance.is_local())
    }
}

/// Compares addresses. A socket of IPv6 sees an IPv4 address mapped, and adds scopes.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
}

impl GatewayBuilder {
    fn options(&self, flow_cookie: u32) -> AwsOptions {
        AwsOptions { endpoint_id: self.endpoint_id, attachment_id: self.attachment_id, flow_cookie }
    }
}
