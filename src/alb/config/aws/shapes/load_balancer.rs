use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A load balancer of `describe-load-balancers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct LoadBalancer {
    /// The ARN.
    pub load_balancer_arn: Option<String>,
    /// The name in DNS.
    #[serde(rename = "DNSName")]
    pub dns_name: Option<String>,
    /// The hosted zone of the name in DNS.
    pub canonical_hosted_zone_id: Option<String>,
    /// When it was created.
    pub created_time: Option<Value>,
    /// The name.
    pub load_balancer_name: Option<String>,
    /// `internet-facing` or `internal`.
    pub scheme: Option<String>,
    /// The network.
    pub vpc_id: Option<String>,
    /// The state.
    pub state: Option<LoadBalancerState>,
    /// `application`, `network` or `gateway`.
    #[serde(rename = "Type")]
    pub r#type: Option<String>,
    /// The zones.
    pub availability_zones: Option<Vec<AvailabilityZone>>,
    /// The security groups.
    pub security_groups: Option<Vec<String>>,
    /// `ipv4`, `dualstack` or `dualstack-without-public-ipv4`.
    pub ip_address_type: Option<String>,
    /// The pool of addresses on an Outpost.
    pub customer_owned_ipv4_pool: Option<String>,
    /// Whether security groups apply to PrivateLink.
    pub enforce_security_group_inbound_rules_on_private_link_traffic: Option<String>,
    /// For UDP of Network Load Balancers.
    pub enable_prefix_for_ipv6_source_nat: Option<String>,
    /// The pools of addresses.
    pub ipam_pools: Option<IpamPools>,
}

/// The state of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct LoadBalancerState {
    /// `active`, `provisioning`, `active_impaired` or `failed`.
    pub code: Option<String>,
    /// The reason.
    pub reason: Option<String>,
}

/// A zone of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AvailabilityZone {
    /// The name.
    pub zone_name: Option<String>,
    /// The subnet.
    pub subnet_id: Option<String>,
    /// The Outpost.
    pub outpost_id: Option<String>,
    /// Static addresses of Network Load Balancers.
    pub load_balancer_addresses: Option<Vec<LoadBalancerAddress>>,
    /// For UDP of Network Load Balancers.
    pub source_nat_ipv6_prefixes: Option<Vec<String>>,
}

/// A static address of a Network Load Balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct LoadBalancerAddress {
    /// The address.
    pub ip_address: Option<String>,
    /// The allocation of the address.
    pub allocation_id: Option<String>,
    /// The private address.
    #[serde(rename = "PrivateIPv4Address")]
    pub private_ipv4_address: Option<String>,
    /// The IPv6 address.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: Option<String>,
}

/// The pools of addresses of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct IpamPools {
    /// The pool of IPv4 addresses.
    pub ipv4_ipam_pool_id: Option<String>,
}
