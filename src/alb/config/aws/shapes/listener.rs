use serde::{Deserialize, Serialize};

use super::Action;

/// A listener of `describe-listeners`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Listener {
    /// The ARN.
    pub listener_arn: Option<String>,
    /// The ARN of the load balancer.
    pub load_balancer_arn: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// `HTTP` or `HTTPS`.
    pub protocol: Option<String>,
    /// The default certificate.
    pub certificates: Option<Vec<Certificate>>,
    /// The name of the security policy.
    pub ssl_policy: Option<String>,
    /// The actions of the default rule.
    pub default_actions: Option<Vec<Action>>,
    /// The ALPN policy of a TLS listener.
    pub alpn_policy: Option<Vec<String>>,
    /// What is asked of client certificates.
    pub mutual_authentication: Option<MutualAuthentication>,
}

/// A certificate of a listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Certificate {
    /// The ARN.
    pub certificate_arn: Option<String>,
    /// Whether it is the default one.
    pub is_default: Option<bool>,
}

/// What is asked of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[non_exhaustive]
pub struct MutualAuthentication {
    /// `off`, `passthrough` or `verify`.
    pub mode: Option<String>,
    /// The ARN of the trust store.
    pub trust_store_arn: Option<String>,
    /// Whether expired certificates are accepted.
    pub ignore_client_certificate_expiry: Option<bool>,
    /// `active` or `removed`.
    pub trust_store_association_status: Option<String>,
    /// `on` or `off`.
    pub advertise_trust_store_ca_names: Option<String>,
}
