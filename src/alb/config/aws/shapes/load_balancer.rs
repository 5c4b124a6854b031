use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A load balancer of `describe-load-balancers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct LoadBalancer {
    /// The ARN.
    pub(in crate::alb::config::aws) load_balancer_arn: Option<String>,
    /// The name in DNS.
    #[serde(rename = "DNSName")]
    pub(in crate::alb::config::aws) dns_name: Option<String>,
    /// The hosted zone of the name in DNS.
    pub(in crate::alb::config::aws) canonical_hosted_zone_id: Option<String>,
    /// When it was created.
    pub(in crate::alb::config::aws) created_time: Option<Value>,
    /// The name.
    pub(in crate::alb::config::aws) load_balancer_name: Option<String>,
    /// `internet-facing` or `internal`.
    pub(in crate::alb::config::aws) scheme: Option<String>,
    /// The network.
    pub(in crate::alb::config::aws) vpc_id: Option<String>,
    /// The state.
    pub(in crate::alb::config::aws) state: Option<LoadBalancerState>,
    /// `application`, `network` or `gateway`.
    #[serde(rename = "Type")]
    pub(in crate::alb::config::aws) r#type: Option<String>,
    /// The zones.
    pub(in crate::alb::config::aws) availability_zones: Option<Vec<AvailabilityZone>>,
    /// The security groups.
    pub(in crate::alb::config::aws) security_groups: Option<Vec<String>>,
    /// `ipv4`, `dualstack` or `dualstack-without-public-ipv4`.
    pub(in crate::alb::config::aws) ip_address_type: Option<String>,
    /// The pool of addresses on an Outpost.
    pub(in crate::alb::config::aws) customer_owned_ipv4_pool: Option<String>,
    /// Whether security groups apply to PrivateLink.
    pub(in crate::alb::config::aws) enforce_security_group_inbound_rules_on_private_link_traffic:
        Option<String>,
    /// For UDP of Network Load Balancers.
    pub(in crate::alb::config::aws) enable_prefix_for_ipv6_source_nat: Option<String>,
    /// The pools of addresses.
    pub(in crate::alb::config::aws) ipam_pools: Option<IpamPools>,
}

/// The state of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct LoadBalancerState {
    /// `active`, `provisioning`, `active_impaired` or `failed`.
    pub(in crate::alb::config::aws) code: Option<String>,
    /// The reason.
    pub(in crate::alb::config::aws) reason: Option<String>,
}

/// A zone of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct AvailabilityZone {
    /// The name.
    pub(in crate::alb::config::aws) zone_name: Option<String>,
    /// The subnet.
    pub(in crate::alb::config::aws) subnet_id: Option<String>,
    /// The Outpost.
    pub(in crate::alb::config::aws) outpost_id: Option<String>,
    /// Static addresses of Network Load Balancers.
    pub(in crate::alb::config::aws) load_balancer_addresses: Option<Vec<LoadBalancerAddress>>,
    /// For UDP of Network Load Balancers.
    pub(in crate::alb::config::aws) source_nat_ipv6_prefixes: Option<Vec<String>>,
}

/// A static address of a Network Load Balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct LoadBalancerAddress {
    /// The address.
    pub(in crate::alb::config::aws) ip_address: Option<String>,
    /// The allocation of the address.
    pub(in crate::alb::config::aws) allocation_id: Option<String>,
    /// The private address.
    #[serde(rename = "PrivateIPv4Address")]
    pub(in crate::alb::config::aws) private_ipv4_address: Option<String>,
    /// The IPv6 address.
    #[serde(rename = "IPv6Address")]
    pub(in crate::alb::config::aws) ipv6_address: Option<String>,
}

/// The pools of addresses of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct IpamPools {
    /// The pool of IPv4 addresses.
    pub(in crate::alb::config::aws) ipv4_ipam_pool_id: Option<String>,
}
