use crate::{
    alb::{
        edge::Responses,
        target_group::{GroupHealth, TargetHealth},
    },
    listener::ListenerStatus,
    rules::RulesStatus,
};

/// What a [`LoadBalancer`](super::LoadBalancer) does at a moment.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct LoadBalancerStatus {
    /// The name in the configuration.
    pub name: String,
    /// The nodes of the listeners, by port and zone.
    pub listeners: Vec<ListenerResponses>,
    /// The target groups, by name.
    pub target_groups: Vec<TargetGroupStatus>,
}

/// What a listener has done in one zone.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct ListenerResponses {
    /// The port in the configuration.
    pub port: u16,
    /// The zone, if zones have addresses.
    pub zone: Option<String>,
    /// The responses.
    pub responses: Responses,
    /// How many requests each rule has got. After a reload, a rule goes on counting under its name,
    /// or under its priority if it has no name.
    pub rules: RulesStatus,
    /// The connections, if the load balancer serves.
    pub connections: Option<ListenerStatus>,
}

/// The health of a target group.
#[derive(Clone, Debug, serde::Serialize)]
#[non_exhaustive]
pub struct TargetGroupStatus {
    /// The name.
    pub name: String,
    /// The health of the group as a whole.
    pub health: GroupHealth,
    /// The health of each target. The targets of a group that no rule forwards to are unused.
    pub targets: Vec<TargetHealth>,
}
