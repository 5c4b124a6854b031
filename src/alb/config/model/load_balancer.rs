use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Zone;
use crate::alb::config::form::{Time, is_default};

/// The load balancer itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalancer {
    /// The name in logs and metrics. Default: empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The ARN, if the load balancer was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// `internet-facing` or `internal`, if the load balancer was imported. It has no effect: the
    /// listeners' addresses decide who can connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The zones. Default: none, which is one zone without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// The attributes.
    #[serde(skip_serializing_if = "is_default")]
    pub attributes: LoadBalancerAttributes,
}

/// The attributes of a load balancer, with the ALB's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalancerAttributes {
    /// How long a connection may carry no data while a request is in flight. From 1 s to 4000 s;
    /// default 60 s.
    pub idle_timeout: Time,
    /// How long a client's connection is kept for further requests. From 60 s to 7 days; default
    /// 1 h.
    pub client_keep_alive: Time,
    /// What happens to requests that two programs could read in two ways. Default `defensive`.
    pub desync_mitigation: DesyncMode,
    /// Whether header fields are removed whose names have other characters than letters, digits and
    /// hyphens. Default false.
    pub drop_invalid_header_fields: bool,
    /// Whether `Host` reaches the targets unchanged. Default false: the ALB adds the port of a
    /// listener that is not a default one.
    pub preserve_host_header: bool,
    /// What happens to `X-Forwarded-For`. Default `append`.
    pub x_forwarded_for: ForwardedForMode,
    /// Whether `X-Forwarded-For` has the client's port, too. Only with `append`. Default false.
    pub x_forwarded_for_port: bool,
    /// Whether targets get `X-Amzn-Tls-Version` and `X-Amzn-Tls-Cipher-Suite`. Default false.
    pub tls_headers: bool,
    /// Whether clients of HTTPS listeners may use HTTP/2. Default true.
    pub http2: bool,
    /// Whether targets of all zones are used by each zone, unless the target group says otherwise.
    /// Always true in the ALB. Default true.
    pub cross_zone: bool,
    /// Whether zones can be shifted away. Default false.
    pub zonal_shift: bool,
    /// Whether requests pass if the web application firewall fails. In its place, a program may set
    /// a filter. Default false.
    pub waf_fail_open: bool,
    /// Whether the load balancer is protected from being deleted. It has no effect here. Default
    /// false.
    pub deletion_protection: bool,
    /// Access logs in S3. Not supported. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_logs: Option<S3Logs>,
    /// Connection logs in S3. Not supported. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_logs: Option<S3Logs>,
    /// Logs of health checks in S3. Not supported. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_logs: Option<S3Logs>,
}

impl Default for LoadBalancerAttributes {
    fn default() -> Self {
        Self {
            idle_timeout: Time::from_secs(60),
            client_keep_alive: Time::from_secs(3600),
            desync_mitigation: DesyncMode::default(),
            drop_invalid_header_fields: false,
            preserve_host_header: false,
            x_forwarded_for: ForwardedForMode::default(),
            x_forwarded_for_port: false,
            tls_headers: false,
            http2: true,
            cross_zone: true,
            zonal_shift: false,
            waf_fail_open: false,
            deletion_protection: false,
            access_logs: None,
            connection_logs: None,
            health_check_logs: None,
        }
    }
}

/// What happens to requests that two programs could read in two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DesyncMode {
    /// All are forwarded.
    Monitor,
    /// Those that are a known threat are refused. The default.
    #[default]
    Defensive,
    /// Only those that comply with the RFCs are forwarded.
    Strictest,
}

/// What happens to `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ForwardedForMode {
    /// The client's address is added. The default.
    #[default]
    Append,
    /// The field stays as the client sent it.
    Preserve,
    /// The field is removed.
    Remove,
}

/// Where the ALB writes logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3Logs {
    /// The name of the bucket.
    pub bucket: String,
    /// The prefix of the objects' names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}
