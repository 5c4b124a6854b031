use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Authenticate, Certificate, MutualTls, Rule};
use crate::alb::config::form::{is_default, is_true};

/// A listener: a port, its protocol, and the rules for its requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The ARN, if the listener was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The port, from 1 to 65535. A binding in `bindings.listen` replaces the address, not what
    /// redirects and `X-Forwarded-Port` say.
    pub port: u16,
    /// The addresses that the listener binds. Default: all IPv4 addresses, `0.0.0.0`.
    #[serde(default = "all_addresses", skip_serializing_if = "is_all_addresses")]
    pub addresses: Vec<IpAddr>,
    /// The protocol. Default `http`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: ListenerProtocol,
    /// The name of the security policy of an HTTPS listener, such as
    /// `ELBSecurityPolicy-TLS13-1-2-Res-2021-06`. Default: the library's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<String>,
    /// The certificates of an HTTPS listener. The first one is the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// What is asked of clients' certificates. Default `off`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mutual_tls: MutualTls,
    /// What a client has to prove before the default action. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_authenticate: Option<Authenticate>,
    /// The action for requests that match no rule. Default: the fixed response 404.
    #[serde(default)]
    pub default_action: Action,
    /// The attributes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attributes: ListenerAttributes,
    /// Limits on connections, beyond the ALB.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: ListenerLimits,
    /// The rules, without the default one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl Listener {
    /// Creates a listener for HTTP whose default action is the fixed response 404.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self {
            arn: None,
            port,
            addresses: all_addresses(),
            protocol: ListenerProtocol::default(),
            security_policy: None,
            certificates: Vec::new(),
            mutual_tls: MutualTls::default(),
            default_authenticate: None,
            default_action: Action::default(),
            attributes: ListenerAttributes::default(),
            limits: ListenerLimits::default(),
            rules: Vec::new(),
        }
    }

    /// Returns the rules in the order of their priorities.
    ///
    /// A rule without a priority has that of the rule before it in the file, plus 1; the first one
    /// has 1.
    #[must_use]
    pub fn rules_by_priority(&self) -> Vec<(u32, &Rule)> {
        let mut last = 0_u32;
        let mut rules = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            last = rule.priority.unwrap_or_else(|| last.saturating_add(1));
            rules.push((last, rule));
        }
        rules.sort_by_key(|(priority, _)| *priority);
        rules
    }

    /// Returns the actions of the rules, by priority, and the default one at the end.
    pub(in crate::alb::config) fn actions(&self) -> impl Iterator<Item = &Action> {
        self.rules.iter().map(|rule| &rule.action).chain([&self.default_action])
    }
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ListenerProtocol {
    /// HTTP without TLS. The default.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

impl ListenerProtocol {
    /// Returns the scheme of URLs: `http` or `https`.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns true for HTTP over TLS.
    #[must_use]
    pub fn is_https(self) -> bool {
        self == Self::Https
    }

    /// Returns the port that URLs need not name.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The attributes of a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerAttributes {
    /// Other names for the fields that tell targets about TLS and the client's certificate. The
    /// keys are `x-amzn-mtls-clientcert-serial-number`, `-issuer`, `-subject`, `-validity`,
    /// `-leaf`, `x-amzn-mtls-clientcert`, `x-amzn-tls-version` and `x-amzn-tls-cipher-suite`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    /// Fields that responses get: `strict-transport-security`, `content-security-policy`,
    /// `x-content-type-options`, `x-frame-options`, and those of CORS (`access-control-…`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub response_headers: BTreeMap<String, String>,
    /// Whether responses of the load balancer have the field `Server`. Default true.
    #[serde(skip_serializing_if = "is_true")]
    pub server_header: bool,
}

impl Default for ListenerAttributes {
    fn default() -> Self {
        Self {
            request_headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            server_header: true,
        }
    }
}

/// Limits on the connections of a listener. They hold for each node: with zones that have
/// addresses, a listener has one node in each. After a change, existing
/// connections finish their requests and are closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// The maximum number of open connections, at least 1. Further ones are accepted, counted and
    /// closed at once. Default 16384.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// The maximum number of open connections of each client address, at least 1 and at most
    /// `connections`. An IPv6 address counts by its `/64` network. Default: no limit, because many
    /// clients may share an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_address: Option<u32>,
}

fn all_addresses() -> Vec<IpAddr> {
    vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
}

#[allow(clippy::ptr_arg, reason = "serde calls it with a reference to the field")]
fn is_all_addresses(addresses: &Vec<IpAddr>) -> bool {
    *addresses == all_addresses()
}
