use serde::{Deserialize, Serialize};

use super::Action;

/// A listener of `describe-listeners`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Listener {
    /// The ARN.
    pub(in crate::alb::config::aws) listener_arn: Option<String>,
    /// The ARN of the load balancer.
    pub(in crate::alb::config::aws) load_balancer_arn: Option<String>,
    /// The port.
    pub(in crate::alb::config::aws) port: Option<u16>,
    /// `HTTP` or `HTTPS`.
    pub(in crate::alb::config::aws) protocol: Option<String>,
    /// The default certificate.
    pub(in crate::alb::config::aws) certificates: Option<Vec<Certificate>>,
    /// The name of the security policy.
    pub(in crate::alb::config::aws) ssl_policy: Option<String>,
    /// The actions of the default rule.
    pub(in crate::alb::config::aws) default_actions: Option<Vec<Action>>,
    /// The ALPN policy of a TLS listener.
    pub(in crate::alb::config::aws) alpn_policy: Option<Vec<String>>,
    /// What is asked of client certificates.
    pub(in crate::alb::config::aws) mutual_authentication: Option<MutualAuthentication>,
}

/// A certificate of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct Certificate {
    /// The ARN.
    pub(in crate::alb::config::aws) certificate_arn: Option<String>,
    /// Whether it is the default one.
    pub(in crate::alb::config::aws) is_default: Option<bool>,
}

/// What is asked of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(in crate::alb::config::aws) struct MutualAuthentication {
    /// `off`, `passthrough` or `verify`.
    pub(in crate::alb::config::aws) mode: Option<String>,
    /// The ARN of the trust store.
    pub(in crate::alb::config::aws) trust_store_arn: Option<String>,
    /// Whether expired certificates are accepted.
    pub(in crate::alb::config::aws) ignore_client_certificate_expiry: Option<bool>,
    /// `active` or `removed`.
    pub(in crate::alb::config::aws) trust_store_association_status: Option<String>,
    /// `on` or `off`.
    pub(in crate::alb::config::aws) advertise_trust_store_ca_names: Option<String>,
}
