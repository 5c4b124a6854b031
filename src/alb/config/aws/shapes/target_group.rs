use serde::{Deserialize, Serialize};

/// A target group of `describe-target-groups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetGroup {
    /// The ARN.
    pub(in crate::alb::config::aws) target_group_arn: Option<String>,
    /// The name.
    pub(in crate::alb::config::aws) target_group_name: Option<String>,
    /// `HTTP` or `HTTPS`.
    pub(in crate::alb::config::aws) protocol: Option<String>,
    /// The port.
    pub(in crate::alb::config::aws) port: Option<u16>,
    /// The network.
    pub(in crate::alb::config::aws) vpc_id: Option<String>,
    /// The protocol of the check.
    pub(in crate::alb::config::aws) health_check_protocol: Option<String>,
    /// The port of the check, or `traffic-port`.
    pub(in crate::alb::config::aws) health_check_port: Option<String>,
    /// Whether targets are checked.
    pub(in crate::alb::config::aws) health_check_enabled: Option<bool>,
    /// The seconds from check to check.
    pub(in crate::alb::config::aws) health_check_interval_seconds: Option<u64>,
    /// The seconds of a check.
    pub(in crate::alb::config::aws) health_check_timeout_seconds: Option<u64>,
    /// How many checks an unhealthy target must pass.
    pub(in crate::alb::config::aws) healthy_threshold_count: Option<u32>,
    /// How many checks a healthy target must fail.
    pub(in crate::alb::config::aws) unhealthy_threshold_count: Option<u32>,
    /// The path of the check.
    pub(in crate::alb::config::aws) health_check_path: Option<String>,
    /// The codes of a passed check.
    pub(in crate::alb::config::aws) matcher: Option<Matcher>,
    /// The load balancers that use the group.
    pub(in crate::alb::config::aws) load_balancer_arns: Option<Vec<String>>,
    /// `instance`, `ip`, `lambda` or `alb`.
    pub(in crate::alb::config::aws) target_type: Option<String>,
    /// `HTTP1`, `HTTP2` or `GRPC`.
    pub(in crate::alb::config::aws) protocol_version: Option<String>,
    /// `ipv4` or `ipv6`.
    pub(in crate::alb::config::aws) ip_address_type: Option<String>,
    /// The port of the target optimizer's agent.
    pub(in crate::alb::config::aws) target_control_port: Option<u16>,
}

/// The codes of a passed check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Matcher {
    /// The statuses of HTTP.
    pub(in crate::alb::config::aws) http_code: Option<String>,
    /// The codes of gRPC.
    pub(in crate::alb::config::aws) grpc_code: Option<String>,
}

/// A target of `describe-target-health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetHealthDescription {
    /// The target.
    pub(in crate::alb::config::aws) target: Option<TargetDescription>,
    /// The port of the check.
    pub(in crate::alb::config::aws) health_check_port: Option<String>,
    /// Its health.
    pub(in crate::alb::config::aws) target_health: Option<TargetHealth>,
    /// Whether it is an outlier.
    pub(in crate::alb::config::aws) anomaly_detection: Option<AnomalyDetection>,
    /// Whether its zone is shifted away.
    pub(in crate::alb::config::aws) administrative_override: Option<AdministrativeOverride>,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetDescription {
    /// The instance, the address or the ARN.
    pub(in crate::alb::config::aws) id: Option<String>,
    /// The port.
    pub(in crate::alb::config::aws) port: Option<u16>,
    /// The zone, or `all`.
    pub(in crate::alb::config::aws) availability_zone: Option<String>,
    /// For QUIC of Network Load Balancers.
    pub(in crate::alb::config::aws) quic_server_id: Option<String>,
}

/// The health of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct TargetHealth {
    /// The state.
    pub(in crate::alb::config::aws) state: Option<String>,
    /// The code of the reason.
    pub(in crate::alb::config::aws) reason: Option<String>,
    /// The reason.
    pub(in crate::alb::config::aws) description: Option<String>,
}

/// Whether a target is an outlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct AnomalyDetection {
    /// `anomalous` or `normal`.
    pub(in crate::alb::config::aws) result: Option<String>,
    /// `yes` or `no`.
    pub(in crate::alb::config::aws) mitigation_in_effect: Option<String>,
}

/// Whether the zone of a target is shifted away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct AdministrativeOverride {
    /// The state.
    pub(in crate::alb::config::aws) state: Option<String>,
    /// The code of the reason.
    pub(in crate::alb::config::aws) reason: Option<String>,
    /// The reason.
    pub(in crate::alb::config::aws) description: Option<String>,
}
