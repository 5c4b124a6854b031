use std::{sync::Arc, time::Duration};

use tokio::net::UdpSocket;
use tower_service::Service;

use super::{Gateway, router::Router};
use crate::{
    BoxError, ConfigError,
    flow::{FlowTable, FlowTableBuilder},
    geneve::{Assigned, NewFlow, PacketEnd, appliances::Standing},
    rng::Rng,
};

/// Configures a [`Gateway`]; [`Gateway::builder`] returns one. The defaults are those of AWS's
/// Gateway Load Balancer.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    pub(super) name: Arc<str>,
    pub(super) stickiness: Stickiness,
    pub(super) failover: ApplianceFailover,
    pub(super) resets: Resets,
    pub(super) mtu: u16,
    pub(super) endpoint_id: u64,
    pub(super) attachment_id: u64,
    pub(super) hash_seed: Option<u64>,
    tcp_idle: Duration,
    other_idle: Duration,
    max_flows: u32,
    source_share: f64,
}

/// Which packets belong to one flow, and so go through one appliance. Both directions always do.
///
/// Packets without ports (protocols other than TCP and UDP) belong together if protocol and
/// addresses are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Stickiness {
    /// Protocol, addresses and ports are the same. The default.
    #[default]
    FiveTuple,
    /// Protocol and addresses are the same. AWS calls it `source_ip_dest_ip_proto`.
    ThreeTuple,
    /// The addresses are the same. AWS calls it `source_ip_dest_ip`.
    TwoTuple,
}

/// What happens to the flows of an appliance that becomes unhealthy or is deregistered.
///
/// With either value, new flows go to other appliances. A SYN counts as a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ApplianceFailover {
    /// The flows keep their appliance. The default.
    #[default]
    NoRebalance,
    /// Each gets another appliance with its next packet, if one is healthy. If none is, it keeps
    /// its appliance and asks again after a second.
    Rebalance,
}

/// When TCP connections are reset.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resets {
    pub(super) on_idle: bool,
    pub(super) on_unhealthy: bool,
    pub(super) on_deregistration: bool,
}

impl Resets {
    /// Returns true if a connection is reset whose appliance has come to this.
    pub(super) fn are_due(self, standing: Standing) -> bool {
        match standing {
            Standing::Serving => false,
            Standing::Unhealthy => self.on_unhealthy,
            Standing::Deregistered => self.on_deregistration,
        }
    }
}

/// The idle timeouts of flows in the table, by their index.
pub(super) mod class {
    pub(in super::super) const TCP: u8 = 0;
    pub(in super::super) const OTHER: u8 = 1;
    pub(in super::super) const CLOSED: u8 = 2;
}

/// How long a TCP connection is remembered that both sides have closed, unless `tcp_idle` is
/// shorter. Late packets of it still pass.
const CLOSED_IDLE: Duration = Duration::from_secs(60);

impl Default for GatewayBuilder {
    fn default() -> Self {
        Self {
            name: "gateway".into(),
            stickiness: Stickiness::default(),
            failover: ApplianceFailover::default(),
            resets: Resets::default(),
            mtu: 8500,
            endpoint_id: 0,
            attachment_id: 0,
            hash_seed: None,
            tcp_idle: Duration::from_secs(350),
            other_idle: Duration::from_secs(120),
            max_flows: 100_000,
            source_share: 0.25,
        }
    }
}

impl GatewayBuilder {
    setters! {
        /// Sets the name in the status and in metrics. Default `gateway`.
        pub fn name(name: impl Into<Arc<str>>) => name = name.into();
        /// Sets which packets belong to one flow. Default [`Stickiness::FiveTuple`].
        pub fn stickiness(stickiness: Stickiness) => stickiness = stickiness;
        /// Sets what happens to the flows of an appliance that has failed. Default
        /// [`ApplianceFailover::NoRebalance`].
        pub fn failover(failover: ApplianceFailover) => failover = failover;
        /// Sets whether both sides of a TCP connection get a reset when its flow has been idle for
        /// `tcp_idle`, and whether a TCP packet without a flow is answered by a reset. Default
        /// `false`. Needs `FiveTuple`.
        pub fn reset_on_idle(reset: bool) => resets.on_idle = reset;
        /// Sets whether both sides of a TCP connection get a reset with the next packet after its
        /// appliance became unhealthy. Its flow ends. Default `false`. Needs `FiveTuple` and
        /// `NoRebalance`.
        pub fn reset_on_unhealthy(reset: bool) => resets.on_unhealthy = reset;
        /// Sets the same for an appliance that drains or was removed. Default `false`.
        pub fn reset_on_deregistration(reset: bool) => resets.on_deregistration = reset;
        /// Sets the length in bytes of the longest inner packet. Default 8500, at least 68. Longer
        /// packets are dropped: the gateway neither fragments nor answers by ICMP. On the wire, a
        /// packet is [68 bytes](crate::geneve::AwsOptions::OVERHEAD) longer.
        pub fn mtu(bytes: u16) => mtu = bytes;
        /// Sets the id of the endpoint in the headers. Default 0.
        pub fn endpoint_id(id: u64) => endpoint_id = id;
        /// Sets the id of the attachment in the headers. Default 0.
        pub fn attachment_id(id: u64) => attachment_id = id;
        /// Sets the seed of [`NewFlow::hash`]. Gateways of the same seed and the same appliances
        /// agree on where a flow goes. Default: a random one, which clients cannot know.
        pub fn hash_seed(seed: u64) => hash_seed = Some(seed);
        /// Sets how long a TCP flow may be idle. Default 350 s.
        pub fn tcp_idle(time: Duration) => tcp_idle = time;
        /// Sets how long the flow of another protocol may be idle. Default 120 s.
        pub fn other_idle(time: Duration) => other_idle = time;
        /// Sets how many flows are tracked at most. Default 100 000. A flow takes about 330 bytes.
        pub fn max_flows(flows: u32) => max_flows = flows;
        /// Sets the share of `max_flows` that one source may have, above 0 and at most 1. A source
        /// is an IPv4 address, or an IPv6 network of 64 bits. Default 0.25.
        pub fn source_share(share: f64) => source_share = share;
    }

    /// Builds a gateway between `end` and the appliances that `balancer` picks.
    ///
    /// The socket is the one that packets are sent from, and that appliances answer to: bind it to
    /// port 6081, because some appliances answer to that port whatever the source port was. The
    /// balancer must answer at once, as a [`Balancer`](crate::Balancer) does: a packet whose flow
    /// finds no appliance when it comes is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if `mtu` is below 68, if a time is 0 or above ten years, if `max_flows` is
    /// 0 or above 2^31, if `source_share` is out of range, or if resets are combined with a
    /// stickiness or a failover that they exclude.
    pub fn build<E, B>(
        self,
        end: E,
        socket: UdpSocket,
        balancer: B,
    ) -> Result<Gateway<E, B>, ConfigError>
    where
        E: PacketEnd,
        B: Service<NewFlow, Response = Assigned, Error: Into<BoxError>>,
    {
        let on_failure = self.resets.on_unhealthy || self.resets.on_deregistration;
        if (self.resets.on_idle || on_failure) && self.stickiness != Stickiness::FiveTuple {
            return Err(ConfigError::new("stickiness", "`FiveTuple`, because resets are set"));
        }
        if on_failure && self.failover == ApplianceFailover::Rebalance {
            let expected = "`NoRebalance`, because resets on failure are set";
            return Err(ConfigError::new("failover", expected));
        }
        ConfigError::unless(self.mtu >= MIN_MTU, "mtu", self.mtu, "at least 68 bytes")?;
        ConfigError::if_zero_time("tcp_idle", self.tcp_idle)?;
        ConfigError::if_zero_time("other_idle", self.other_idle)?;
        let idle_timeouts = [self.tcp_idle, self.other_idle, self.tcp_idle.min(CLOSED_IDLE)];
        let flows = self.table(self.max_flows).idle_timeouts(idle_timeouts).build()?;
        let seed = self.hash_seed.unwrap_or_else(|| Rng::from_entropy().bits());
        Ok(Gateway::new(end, socket, Router::new(self, flows, seed, balancer)?))
    }

    /// Returns the settings of a table of up to `max` entries, in which each source has its share.
    pub(super) fn table(&self, max: u32) -> FlowTableBuilder {
        FlowTable::builder().max_flows(max).source_share(self.source_share)
    }
}

/// The length of a packet that every network must carry (RFC 791).
const MIN_MTU: u16 = 68;
