use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HealthCheck, Target, TargetGroupAttributes};
use crate::{
    alb::config::{form::is_default, model::Resilience},
    strategy,
};

/// A target group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// The name, which actions refer to.
    pub name: String,
    /// The ARN, if the group was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// What the targets are. Default `ip`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: TargetKind,
    /// How targets are spoken to. Default `http`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: TargetProtocol,
    /// The version of HTTP. Default `http1`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version: TargetVersion,
    /// The port of targets that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The port of the agent by which targets grant permits (the target optimizer). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_port: Option<u16>,
    /// The targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The health check.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_check: HealthCheck,
    /// The attributes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attributes: TargetGroupAttributes,
    /// A strategy of this library, instead of the ALB's algorithm. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<strategy::Config>,
    /// Resilience settings, instead of those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
}

impl TargetGroup {
    /// Creates a target group without targets.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arn: None,
            kind: TargetKind::default(),
            protocol: TargetProtocol::default(),
            version: TargetVersion::default(),
            port: None,
            control_port: None,
            targets: Vec::new(),
            health_check: HealthCheck::default(),
            attributes: TargetGroupAttributes::default(),
            strategy: None,
            resilience: None,
        }
    }
}

/// What the targets of a group are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetKind {
    /// Instances, by an id that `bindings.targets` explains.
    Instance,
    /// IP addresses. The default.
    #[default]
    Ip,
    /// One Lambda function.
    Lambda,
}

/// How targets are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetProtocol {
    /// Without TLS. The default.
    #[default]
    Http,
    /// With TLS. The ALB does not verify certificates of targets.
    Https,
}

/// The version of HTTP that targets are spoken to with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetVersion {
    /// HTTP/1.1. The default.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}
