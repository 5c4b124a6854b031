use std::collections::{BTreeMap, BTreeSet};

use super::{action, at::At, authenticate, condition, transform};
use crate::alb::config::{
    Certificate, Config, Listener, ListenerAttributes, ListenerLimits, ListenerProtocol, MutualTls,
    Rule, parts,
};
use crate::listener::{DEFAULT_CONNECTIONS, tls::SecurityPolicy};

/// The ALB's quotas. They can be raised, so that more is noted only.
const MAX_LISTENERS: usize = 50;
const MAX_RULES: usize = 100;
const MAX_CERTIFICATES: usize = 25;
const MAX_CONDITION_VALUES: usize = 5;

/// The fields whose names an attribute can change.
const REQUEST_HEADERS: [&str; 8] = [
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-issuer",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert-serial-number",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-mtls-clientcert-validity",
    "x-amzn-tls-cipher-suite",
    "x-amzn-tls-version",
];
/// The fields that an attribute can add to responses.
const RESPONSE_HEADERS: [&str; 10] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
];

pub(super) fn check_all(config: &Config, at: &mut At<'_>) {
    if config.listeners.is_empty() {
        at.note("there is no listener, so that no client can connect");
    }
    if config.listeners.len() > MAX_LISTENERS {
        at.note(format!("the ALB's quota is {MAX_LISTENERS}"));
    }
    let (mut ports, mut bound) = (BTreeSet::new(), BTreeSet::new());
    let has_nodes = config.load_balancer.zones.iter().any(|zone| !zone.addresses.is_empty());
    for listener in &config.listeners {
        let mut at = at.at(listener.port);
        if !ports.insert(listener.port) {
            at.at("port").invalid(listener.port, "a port that no other listener has");
        } else if !has_nodes {
            // The system chooses another port for each 0.
            let addresses = config.bound_addresses(listener).into_iter();
            for address in addresses.filter(|address| address.port() != 0) {
                if !bound.insert(address) {
                    at.at("addresses").invalid(address, "an address that is bound once");
                }
            }
        }
        check(config, listener, &mut at);
    }
}

fn check(config: &Config, listener: &Listener, at: &mut At<'_>) {
    if listener.port == 0 {
        at.at("port").invalid(0, "a port from 1 to 65535");
    }
    if listener.addresses.is_empty() {
        at.at("addresses").missing("at least one address");
    }
    match listener.protocol {
        ListenerProtocol::Http => plain(listener, at),
        ListenerProtocol::Https => tls(config, listener, at),
    }
    attributes(&listener.attributes, &mut at.at("attributes"));
    limits(listener.limits, &mut at.at("limits"));
    let authenticate = listener.default_authenticate.as_ref();
    authenticate::check(config, listener, authenticate, &mut at.at("default_authenticate"));
    action::check(config, listener, &listener.default_action, &mut at.at("default_action"));
    rules(config, listener, &mut at.at("rules"));
}

fn plain(listener: &Listener, at: &mut At<'_>) {
    let expected = "no value, because `protocol` is `http`";
    if !listener.certificates.is_empty() {
        at.at("certificates").missing(expected);
    }
    if let Some(policy) = &listener.security_policy {
        at.at("security_policy").invalid(policy, expected);
    }
    if listener.mutual_tls != MutualTls::Off {
        at.at("mutual_tls").missing(expected);
    }
}

fn tls(config: &Config, listener: &Listener, at: &mut At<'_>) {
    if listener.certificates.is_empty() {
        at.at("certificates").missing("at least one certificate, because `protocol` is `https`");
    }
    if listener.certificates.len() > MAX_CERTIFICATES {
        at.at("certificates").note(format!("the ALB's quota is {MAX_CERTIFICATES}"));
    }
    if let Some(name) = &listener.security_policy {
        let mut at = at.at("security_policy");
        match SecurityPolicy::alb(name) {
            Err(error) => at.invalid(name, error.expected().to_owned()),
            Ok(policy) if !policy.left_out().is_empty() => {
                let left_out = policy.left_out().join(", ");
                at.note(format!("clients cannot use {left_out}, which rustls does not have"));
            }
            Ok(_) => {}
        }
    }
    for (index, certificate) in listener.certificates.iter().enumerate() {
        let Certificate::Named(name) = certificate else { continue };
        if !config.bindings.certificates.contains_key(name) {
            let expected = "a certificate with an entry in `bindings.certificates`";
            at.at("certificates").item(index).invalid(name, expected);
        }
    }
    if let MutualTls::Verify { trust_store, .. } = &listener.mutual_tls {
        if !config.bindings.trust_stores.contains_key(trust_store) {
            let expected = "a trust store with an entry in `bindings.trust_stores`";
            at.at("mutual_tls.trust_store").invalid(trust_store, expected);
        }
    }
}

fn attributes(attributes: &ListenerAttributes, at: &mut At<'_>) {
    let tables: [(&str, &BTreeMap<_, _>, &[&str]); 2] = [
        ("request_headers", &attributes.request_headers, &REQUEST_HEADERS),
        ("response_headers", &attributes.response_headers, &RESPONSE_HEADERS),
    ];
    for (field, table, known) in tables {
        let mut at = at.at(field);
        for (name, value) in table {
            let mut at = at.at(name);
            if !known.contains(&&**name) {
                at.missing(format!("one of {}", known.join(", ")));
            }
            let is_value = http::HeaderValue::from_str(value).is_ok();
            let is_name = http::HeaderName::from_bytes(value.as_bytes()).is_ok();
            if field == "request_headers" && !is_name {
                at.invalid(format_args!("{value:?}"), "the name of a header field");
            } else if !is_value {
                at.invalid(format_args!("{value:?}"), "the value of a header field");
            }
        }
    }
    let mut at = at.at("request_headers");
    if !at.is_invalid() {
        at.built_here(parts::tls_fields(attributes, true));
    }
}

fn limits(limits: ListenerLimits, at: &mut At<'_>) {
    let ListenerLimits { connections, connections_per_address: per_address } = limits;
    let most = connections.unwrap_or(DEFAULT_CONNECTIONS);
    for (field, number) in [("connections", connections), ("connections_per_address", per_address)]
    {
        if number == Some(0) {
            at.at(field).invalid(0, "at least 1");
        }
    }
    if let Some(number) = per_address.filter(|number| *number > most) {
        let expected = format!("at most `connections`, which is {most}");
        at.at("connections_per_address").invalid(number, expected);
    }
}

fn rules(config: &Config, listener: &Listener, at: &mut At<'_>) {
    if listener.rules.len() > MAX_RULES {
        at.note(format!("the ALB's quota is {MAX_RULES}"));
    }
    let mut previous = None;
    for (priority, rule) in listener.rules_by_priority() {
        let mut at = at.at(priority);
        if previous == Some(priority) {
            at.at("priority").invalid(priority, "a priority that no other rule has");
        }
        at.at("priority").number_within(priority.into(), 1, 50_000);
        previous = Some(priority);
        check_rule(config, listener, rule, &mut at);
    }
    let rules = listener.rules_by_priority();
    // A rule without a name has that of its priority, and the default rule one of its own.
    let unnamed = rules.iter().filter(|(_, rule)| rule.name.is_none());
    let mut names: BTreeSet<_> = unnamed.map(|(priority, _)| priority.to_string()).collect();
    names.insert("default".to_owned());
    for (priority, rule) in rules {
        let Some(name) = &rule.name else { continue };
        if !names.insert(name.clone()) {
            let expected = "a name that no other rule has: unnamed ones have their priority, and \
                            that of the default action is `default`";
            at.at(priority).at("name").invalid(format_args!("{name:?}"), expected);
        }
    }
}

fn check_rule(config: &Config, listener: &Listener, rule: &Rule, at: &mut At<'_>) {
    condition::check_all(&rule.conditions, MAX_CONDITION_VALUES, &mut at.at("conditions"));
    transform::check(&rule.transforms, &mut at.at("transforms"));
    let authenticate = rule.authenticate.as_ref();
    authenticate::check(config, listener, authenticate, &mut at.at("authenticate"));
    action::check(config, listener, &rule.action, &mut at.at("action"));
}
