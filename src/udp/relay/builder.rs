use std::{fmt, sync::Arc, time::Duration};

use tokio::net::UdpSocket;

use super::UdpRelay;
use crate::{
    ConfigError,
    flow::{FlowTable, FlowTableBuilder},
    udp::{QuicLb, ServerId, descriptors, receive::MAX_DATAGRAM_BYTES},
};

/// What becomes of a flow that has lost its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetLoss {
    /// The next datagram picks another target. The client does not notice, unless the target had
    /// state of the flow.
    Repick,
    /// Datagrams are dropped until the client has paused for the idle timeout.
    Drop,
    /// The flow stays with its target.
    Keep,
}

/// Configures a [`UdpRelay`].
#[derive(Clone)]
pub struct UdpRelayBuilder {
    pub(super) name: Arc<str>,
    max_flows: Option<u32>,
    source_share: f64,
    idle_timeout: Duration,
    open_timeout: Duration,
    pub(super) settings: Settings,
}

/// The settings that are read while the relay serves.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) drain_timeout: Duration,
    pub(super) max_datagram_bytes: usize,
    pub(super) expect_replies: bool,
    pub(super) on_removed: TargetLoss,
    pub(super) on_unhealthy: TargetLoss,
    pub(super) on_refused: TargetLoss,
    pub(super) server_id: Option<Arc<dyn Fn(&[u8]) -> Option<ServerId> + Send + Sync>>,
}

/// The classes of flows in the table.
pub(super) const OPEN: usize = 0;
pub(super) const OPENING: usize = 1;

impl Default for UdpRelayBuilder {
    fn default() -> Self {
        Self {
            name: "udp".into(),
            max_flows: None,
            source_share: 0.25,
            idle_timeout: Duration::from_secs(120),
            open_timeout: Duration::from_secs(1),
            settings: Settings {
                drain_timeout: Duration::ZERO,
                max_datagram_bytes: MAX_DATAGRAM_BYTES,
                expect_replies: false,
                on_removed: TargetLoss::Repick,
                on_unhealthy: TargetLoss::Repick,
                on_refused: TargetLoss::Repick,
                server_id: None,
            },
        }
    }
}

impl UdpRelayBuilder {
    setters! {
        /// Sets the name in the status and in log events. Default `udp`.
        pub fn name(name: impl Into<Arc<str>>) => name = name.into();
        /// Sets how many flows there are at most. Each has a socket with a port. When the table is
        /// full, a new flow displaces the oldest one that had no reply, or is dropped if all had
        /// one.
        ///
        /// Default 70 % of the process's limit of open files (`ulimit -n`) or of the ports in
        /// `net.ipv4.ip_local_port_range`, whichever is less, and at most 100 000. Several relays
        /// in one process share both.
        pub fn max_flows(flows: u32) => max_flows = Some(flows);
        /// Sets the share of `max_flows` that one client may have, above 0 and at most 1. A client
        /// is an IPv4 address, or an IPv6 network of 64 bits. Default 0.25.
        pub fn source_share(share: f64) => source_share = share;
        /// Sets how long a flow without a datagram in either direction lasts. Default 120 s, as for
        /// a Network Load Balancer.
        pub fn idle_timeout(time: Duration) => idle_timeout = time;
        /// Sets how long the last datagram of a flow waits for an endpoint while none takes the
        /// flow. Default 1 s.
        pub fn open_timeout(time: Duration) => open_timeout = time;
        /// Sets how long flows go on after the relay was told to stop. New ones are dropped in that
        /// time. Default 0 s; more than ten years count as ten years.
        pub fn drain_timeout(time: Duration) => settings.drain_timeout = time;
        /// Sets the longest payload in bytes that is relayed in either direction. Longer datagrams
        /// are dropped. Default 65 507, the most that IPv4 can carry.
        pub fn max_datagram_bytes(bytes: usize) => settings.max_datagram_bytes = bytes;
        /// Sets whether a flow that has ended idle without a reply counts as a
        /// [`Timeout`](crate::outcome::Outcome::Timeout) of its endpoint. Default `false`, because
        /// some protocols, such as syslog, have no replies.
        pub fn expect_replies(expected: bool) => settings.expect_replies = expected;
        /// Sets what becomes of the flows of an endpoint that was removed. Default
        /// [`Repick`](TargetLoss::Repick). Draining endpoints keep their flows until they are
        /// removed.
        pub fn on_removed(loss: TargetLoss) => settings.on_removed = loss;
        /// Sets what becomes of the flows of an endpoint that got unhealthy. Default
        /// [`Repick`](TargetLoss::Repick).
        pub fn on_unhealthy(loss: TargetLoss) => settings.on_unhealthy = loss;
        /// Sets what becomes of a flow whose target refuses datagrams, by an ICMP error. Default
        /// [`Repick`](TargetLoss::Repick), which prefers another endpoint. Unless it is
        /// [`Keep`](TargetLoss::Keep), a refusal is a failure of the endpoint.
        pub fn on_refused(loss: TargetLoss) => settings.on_refused = loss;
        /// Sets how the server id is found in a datagram, for
        /// [`ByServerId`](crate::udp::ByServerId). The function must return only ids that servers
        /// have issued, as far as it can tell. Default none.
        pub fn server_id(find: impl Fn(&[u8]) -> Option<ServerId> + Send + Sync + 'static)
            => settings.server_id = Some(Arc::new(find));
    }

    /// Finds server ids in QUIC packets; see [`server_id`](Self::server_id).
    #[must_use]
    pub fn quic(self, layout: QuicLb) -> Self {
        self.server_id(move |datagram| layout.server_id(datagram))
    }

    /// Builds a relay that receives on `socket` and asks `service` for the endpoint of each flow:
    /// a balancer of [`UdpTarget`](crate::udp::UdpTarget)s with the tracker
    /// [`UntilFlowEnd`](crate::udp::UntilFlowEnd).
    ///
    /// On a host with several addresses, bind a socket to each: the reply from a socket that is
    /// bound to all addresses may have another source address than the client expects.
    ///
    /// # Errors
    ///
    /// If a time other than `drain_timeout` is 0 or above ten years, if a number is out of range,
    /// if `max_flows` exceeds the process's limit of open files, or if the socket has no address.
    pub fn build<S>(self, socket: UdpSocket, service: S) -> Result<UdpRelay<S>, ConfigError> {
        let limit = descriptors::limit().unwrap_or(u64::MAX);
        let max_flows = self.max_flows.unwrap_or_else(descriptors::default_max_flows);
        if u64::from(max_flows) > limit {
            let expected = format!("at most {limit}, the limit of open files");
            return Err(ConfigError::new("max_flows", expected).with_value(max_flows));
        }
        FlowTableBuilder::check_timeout("idle_timeout", self.idle_timeout)?;
        FlowTableBuilder::check_timeout("open_timeout", self.open_timeout)?;
        let bytes = self.settings.max_datagram_bytes;
        let is_valid = (1..=MAX_DATAGRAM_BYTES).contains(&bytes);
        ConfigError::unless(is_valid, "max_datagram_bytes", bytes, "1 to 65507")?;
        let no_address = |_| ConfigError::new("socket", "a socket that is bound to an address");
        let local = socket.local_addr().map_err(no_address)?;
        let table: FlowTableBuilder = FlowTable::builder()
            .max_flows(max_flows)
            .source_share(self.source_share)
            .idle_timeouts([self.idle_timeout, self.open_timeout]);
        Ok(UdpRelay::new(self, (socket, local), service, table.build_keyed()?))
    }
}

impl fmt::Debug for UdpRelayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpRelayBuilder")
            .field("name", &self.name)
            .field("max_flows", &self.max_flows)
            .field("source_share", &self.source_share)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
