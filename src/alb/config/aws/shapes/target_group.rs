use serde::{Deserialize, Serialize};

/// A target group of `describe-target-groups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetGroup {
    /// The ARN.
    pub target_group_arn: Option<String>,
    /// The name.
    pub target_group_name: Option<String>,
    /// `HTTP` or `HTTPS`.
    pub protocol: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The network.
    pub vpc_id: Option<String>,
    /// The protocol of the check.
    pub health_check_protocol: Option<String>,
    /// The port of the check, or `traffic-port`.
    pub health_check_port: Option<String>,
    /// Whether targets are checked.
    pub health_check_enabled: Option<bool>,
    /// The seconds from check to check.
    pub health_check_interval_seconds: Option<u64>,
    /// The seconds of a check.
    pub health_check_timeout_seconds: Option<u64>,
    /// How many checks an unhealthy target must pass.
    pub healthy_threshold_count: Option<u32>,
    /// How many checks a healthy target must fail.
    pub unhealthy_threshold_count: Option<u32>,
    /// The path of the check.
    pub health_check_path: Option<String>,
    /// The codes of a passed check.
    pub matcher: Option<Matcher>,
    /// The load balancers that use the group.
    pub load_balancer_arns: Option<Vec<String>>,
    /// `instance`, `ip`, `lambda` or `alb`.
    pub target_type: Option<String>,
    /// `HTTP1`, `HTTP2` or `GRPC`.
    pub protocol_version: Option<String>,
    /// `ipv4` or `ipv6`.
    pub ip_address_type: Option<String>,
    /// The port of the target optimizer's agent.
    pub target_control_port: Option<u16>,
}

/// The codes of a passed check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Matcher {
    /// The statuses of HTTP.
    pub http_code: Option<String>,
    /// The codes of gRPC.
    pub grpc_code: Option<String>,
}

/// A target of `describe-target-health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetHealthDescription {
    /// The target.
    pub target: Option<TargetDescription>,
    /// The port of the check.
    pub health_check_port: Option<String>,
    /// Its health.
    pub target_health: Option<TargetHealth>,
    /// Whether it is an outlier.
    pub anomaly_detection: Option<AnomalyDetection>,
    /// Whether its zone is shifted away.
    pub administrative_override: Option<AdministrativeOverride>,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetDescription {
    /// The instance, the address or the ARN.
    pub id: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The zone, or `all`.
    pub availability_zone: Option<String>,
    /// For QUIC of Network Load Balancers.
    pub quic_server_id: Option<String>,
}

/// The health of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TargetHealth {
    /// The state.
    pub state: Option<String>,
    /// The code of the reason.
    pub reason: Option<String>,
    /// The reason.
    pub description: Option<String>,
}

/// Whether a target is an outlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AnomalyDetection {
    /// `anomalous` or `normal`.
    pub result: Option<String>,
    /// `yes` or `no`.
    pub mitigation_in_effect: Option<String>,
}

/// Whether the zone of a target is shifted away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AdministrativeOverride {
    /// The state.
    pub state: Option<String>,
    /// The code of the reason.
    pub reason: Option<String>,
    /// The reason.
    pub description: Option<String>,
}
