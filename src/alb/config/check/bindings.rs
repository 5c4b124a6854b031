use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{at::At, authenticate};
use crate::{
    alb::config::{
        Authenticate, Certificate, Config, FunctionBinding, JwksBinding, Listener, MutualTls,
        Target, TargetKind, function_name,
    },
    http::Origin,
};

/// Notes bindings that nothing refers to, and reports addresses without a port.
pub(super) fn check(config: &Config, at: &mut At<'_>) {
    let bindings = &config.bindings;
    let listeners = config.listeners.iter();
    let ports = listeners.flat_map(|it| [Some(it.port.to_string()), it.arn.clone()]);
    unused(&bindings.listen, &ports.flatten().collect(), &mut at.at("listen"));
    let has_nodes = config.load_balancer.zones.iter().any(|zone| !zone.addresses.is_empty());
    if has_nodes && !bindings.listen.is_empty() {
        at.at("listen").missing("no entries, because the addresses are those of the zones");
    }
    let groups = config.target_groups.iter();
    let names = groups.flat_map(|group| [Some(group.name.clone()), group.arn.clone()]);
    unused(&bindings.groups, &names.flatten().collect(), &mut at.at("groups"));
    unused(&bindings.targets, &target_names(config), &mut at.at("targets"));
    let lambdas = config.target_groups.iter().filter(|group| group.kind == TargetKind::Lambda);
    let functions = lambdas.flat_map(|group| &group.targets);
    let functions = functions.flat_map(|it| [it.id.clone(), function_name(&it.id).to_owned()]);
    unused(&bindings.functions, &functions.collect(), &mut at.at("functions"));
    let certificates = config.listeners.iter().flat_map(|listener| &listener.certificates);
    let certificates = certificates.filter_map(|certificate| match certificate {
        Certificate::Named(name) => Some(name.clone()),
        Certificate::Bound(_) => None,
    });
    unused(&bindings.certificates, &certificates.collect(), &mut at.at("certificates"));
    let stores = config.listeners.iter().filter_map(|listener| match &listener.mutual_tls {
        MutualTls::Verify { trust_store, .. } => Some(trust_store.clone()),
        MutualTls::Off | MutualTls::Passthrough => None,
    });
    unused(&bindings.trust_stores, &stores.collect(), &mut at.at("trust_stores"));
    let (mut clients, mut key_sets) = (BTreeSet::new(), BTreeSet::new());
    for authenticate in config.listeners.iter().flat_map(authentications) {
        match authenticate {
            Authenticate::Oidc(oidc) => clients.insert(oidc.client_id.clone()),
            Authenticate::Cognito(cognito) => clients.insert(cognito.client_id.clone()),
            Authenticate::Jwt(jwt) => key_sets.insert(jwt.jwks.clone()),
        };
    }
    unused(&bindings.client_secrets, &clients, &mut at.at("client_secrets"));
    unused(&bindings.jwks, &key_sets, &mut at.at("jwks"));
    for (name, address) in &bindings.targets {
        port_of(*address, &mut at.at("targets").at(name));
    }
    for (name, addresses) in &bindings.groups {
        let (mut at, mut group) = (at.at("groups"), BTreeSet::new());
        let mut at = at.at(name);
        for (index, address) in addresses.iter().enumerate() {
            port_of(*address, &mut at.item(index));
            if !group.insert(address) {
                at.item(index).invalid(address, "each address once");
            }
        }
    }
    for (name, addresses) in &bindings.listen {
        if addresses.is_empty() {
            at.at("listen").at(name).missing("at least one address");
        }
    }
    for (name, binding) in &bindings.jwks {
        if let JwksBinding::Url(text) = binding {
            authenticate::url(text, &mut at.at("jwks").at(name).at("url"));
        }
    }
    for (name, binding) in &bindings.functions {
        if let FunctionBinding::Endpoint(text) = binding {
            if text.parse::<Origin>().is_err() {
                let mut at = at.at("functions");
                at.at(name).at("endpoint").invalid(text, "the URL of an Invoke API without a path");
            }
        }
    }
}

fn authentications(listener: &Listener) -> impl Iterator<Item = &Authenticate> {
    let rules = listener.rules.iter().filter_map(|rule| rule.authenticate.as_ref());
    rules.chain(&listener.default_authenticate)
}

fn target_names(config: &Config) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for group in &config.target_groups {
        for target in &group.targets {
            let port = target.port.or(group.port);
            names.extend([target.id.clone(), Target { port, ..target.clone() }.name()]);
        }
    }
    names
}

fn unused<T>(bindings: &BTreeMap<String, T>, names: &BTreeSet<String>, at: &mut At<'_>) {
    for name in bindings.keys().filter(|name| !names.contains(*name)) {
        at.at(name).note("nothing in the configuration has this name");
    }
}

fn port_of(address: SocketAddr, at: &mut At<'_>) {
    if address.port() == 0 {
        at.invalid(address, "a port from 1 to 65535");
    }
}
