use std::{any::TypeId, time::SystemTime};

use crate::{
    balance::{Event, Status},
    discover::SourceReport,
    failover::FailoverStatus,
    health::{BackoffStatus, CheckStatus, CircuitStatus, EjectionStatus},
    hedge::HedgeStatus,
    limit::LimitStatus,
    retry::{BudgetStatus, RetryStatus},
};

/// The state of the components of a [`Registry`](super::Registry) at one moment.
///
/// With feature `serde` it can be serialized: times are seconds, `time` since 1970.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// When the report was made.
    #[cfg_attr(feature = "serde", serde(serialize_with = "unix_seconds"))]
    pub time: SystemTime,
    /// The balancers, in the order in which they were added.
    pub balancers: Vec<BalancerReport>,
    /// Layers of retries.
    pub retries: Vec<RetryStatus>,
    /// Layers of hedges.
    pub hedges: Vec<HedgeStatus>,
    /// Layers of failover.
    pub failovers: Vec<FailoverStatus>,
    /// Budgets of retries and hedges.
    pub budgets: Vec<BudgetStatus>,
    /// Limits.
    pub limits: Vec<LimitStatus>,
    /// Health checks.
    pub checks: Vec<CheckStatus>,
    /// Outlier detection.
    pub ejections: Vec<EjectionStatus>,
    /// Circuit breakers.
    pub circuits: Vec<CircuitStatus>,
    /// Weights that are lowered while endpoints are overloaded.
    pub backoffs: Vec<BackoffStatus>,
    /// Sources of endpoints.
    pub sources: Vec<SourceReport>,
    /// Pools of connections.
    #[cfg(feature = "http-client")]
    pub pools: Vec<crate::http::PoolStatus>,
    /// Listeners.
    #[cfg(feature = "listener")]
    pub listeners: Vec<crate::listener::ListenerStatus>,
    /// Sets of rules.
    #[cfg(feature = "rules")]
    pub rules: Vec<crate::rules::RulesStatus>,
    /// Load balancers, with their listeners and rules. Their target groups are in the other lists.
    #[cfg(feature = "alb")]
    pub load_balancers: Vec<crate::alb::load_balancer::LoadBalancerStatus>,
    /// Relays of TCP connections.
    #[cfg(feature = "tcp")]
    pub tcp_relays: Vec<crate::tcp::RelayStatus>,
    /// Relays of UDP flows.
    #[cfg(feature = "udp")]
    pub udp_relays: Vec<crate::udp::UdpRelayStatus>,
    /// Responders, which exchange one datagram for one reply.
    #[cfg(feature = "udp")]
    pub udp_responders: Vec<crate::udp::UdpResponderStatus>,
    /// Gateway Load Balancers.
    #[cfg(feature = "geneve")]
    pub gateways: Vec<crate::geneve::GatewayStatus>,
    /// Appliances of Gateway Load Balancers.
    #[cfg(feature = "geneve")]
    pub inspectors: Vec<crate::geneve::InspectorStatus>,
    /// Throttles of Lambda.
    #[cfg(feature = "lambda")]
    pub throttles: Vec<crate::lambda::ThrottlesStatus>,
    /// What invocations of Lambda were billed.
    #[cfg(feature = "lambda")]
    pub billing: Vec<crate::lambda::BillingStatus>,
    /// The number of the component that is read.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) component: u64,
    /// The type of each status, and the number of its component, in the order of all lists.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) numbers: Vec<(TypeId, u64)>,
}

/// What a [`Report`] says of one balancer.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BalancerReport {
    /// Its endpoints with their figures, and its driver.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub status: Status,
    /// The latest changes that it has seen, the oldest first.
    pub events: Vec<Event>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            time: SystemTime::now(),
            balancers: Vec::new(),
            retries: Vec::new(),
            hedges: Vec::new(),
            failovers: Vec::new(),
            budgets: Vec::new(),
            limits: Vec::new(),
            checks: Vec::new(),
            ejections: Vec::new(),
            circuits: Vec::new(),
            backoffs: Vec::new(),
            sources: Vec::new(),
            #[cfg(feature = "http-client")]
            pools: Vec::new(),
            #[cfg(feature = "listener")]
            listeners: Vec::new(),
            #[cfg(feature = "rules")]
            rules: Vec::new(),
            #[cfg(feature = "alb")]
            load_balancers: Vec::new(),
            #[cfg(feature = "tcp")]
            tcp_relays: Vec::new(),
            #[cfg(feature = "udp")]
            udp_relays: Vec::new(),
            #[cfg(feature = "udp")]
            udp_responders: Vec::new(),
            #[cfg(feature = "geneve")]
            gateways: Vec::new(),
            #[cfg(feature = "geneve")]
            inspectors: Vec::new(),
            #[cfg(feature = "lambda")]
            throttles: Vec::new(),
            #[cfg(feature = "lambda")]
            billing: Vec::new(),
            component: 0,
            numbers: Vec::new(),
        }
    }

    /// Returns the statuses of one list with the numbers of their components.
    #[cfg(feature = "metrics")]
    pub(super) fn numbered<'a, S: 'static>(
        &'a self,
        list: &'a [S],
    ) -> impl Iterator<Item = (u64, &'a S)> {
        let ours = self.numbers.iter().filter(|(of, _)| *of == TypeId::of::<S>());
        ours.map(|(_, number)| *number).zip(list)
    }
}

#[cfg(feature = "serde")]
fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_f64(since.as_secs_f64())
}
