use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use super::{
    at::At,
    checked::{BoundTarget, Destination},
};
use crate::alb::config::{
    Authenticate, Certificate, Config, FunctionBinding, Listener, MutualTls, Target, TargetGroup,
    TargetKind,
};

/// Returns the entry of a name, or else that of an ARN.
pub(super) fn of<'a, T>(
    bindings: &'a BTreeMap<String, T>,
    name: &str,
    arn: Option<&str>,
) -> Option<&'a T> {
    bindings.get(name).or_else(|| bindings.get(arn?))
}

/// A target without a destination: its position, and what was expected.
pub(super) struct Unbound {
    pub(super) index: usize,
    pub(super) expected: String,
}

/// Resolves the targets of a group.
pub(super) fn targets(config: &Config, group: &TargetGroup) -> Vec<Result<BoundTarget, Unbound>> {
    if let Some(addresses) = of(&config.bindings.groups, &group.name, group.arn.as_deref()) {
        let bound = |address: &SocketAddr| {
            let destination = Destination::Address(*address);
            Ok(BoundTarget { name: address.to_string(), zone: None, destination })
        };
        return addresses.iter().map(bound).collect();
    }
    let resolve = |(index, target): (usize, &Target)| {
        let destination = destination(config, group, target);
        let destination = destination.map_err(|expected| Unbound { index, expected })?;
        let zone = target.zone.clone().filter(|zone| zone != "all");
        Ok(BoundTarget { name: target.name(), zone, destination })
    };
    group.targets.iter().enumerate().map(resolve).collect()
}

fn destination(
    config: &Config,
    group: &TargetGroup,
    target: &Target,
) -> Result<Destination, String> {
    let bindings = &config.bindings;
    if group.kind == TargetKind::Lambda {
        let found = bindings.functions.get(&target.id);
        let found = found.or_else(|| bindings.functions.get(function_name(&target.id)));
        let missing = || format!("an entry of `bindings.functions` for {:?}", target.id);
        let binding: FunctionBinding = found.cloned().ok_or_else(missing)?;
        return Ok(Destination::Function { arn: target.id.clone(), binding });
    }
    let port = target.port.or(group.port);
    let names = [
        port.map(|port| Target { port: Some(port), ..target.clone() }.name()),
        Some(target.id.clone()),
    ];
    let found = names.iter().flatten().find_map(|name| bindings.targets.get(name));
    if let Some(address) = found {
        return Ok(Destination::Address(*address));
    }
    let Ok(ip) = target.id.parse::<IpAddr>() else {
        return Err(match group.kind {
            TargetKind::Instance => format!(
                "an entry of `bindings.targets` for {:?}, because an id has no address",
                target.id
            ),
            _ => "an IP address, such as 10.0.0.1:80, or an entry of `bindings.targets`".to_owned(),
        });
    };
    match port {
        Some(0) => Err("a port from 1 to 65535".to_owned()),
        Some(port) => Ok(Destination::Address(SocketAddr::new(ip, port))),
        None => Err("a port, of the target or of its group".to_owned()),
    }
}

/// Returns the name of a function from its ARN, `…:function:name` or `…:function:name:alias`.
fn function_name(arn: &str) -> &str {
    let name = arn.split_once(":function:").and_then(|(_, rest)| rest.split(':').next());
    name.unwrap_or(arn)
}

/// Notes bindings that nothing refers to, and reports addresses without a port.
pub(super) fn check(config: &Config, at: &mut At<'_>) {
    let bindings = &config.bindings;
    let listeners = config.listeners.iter();
    let ports = listeners.flat_map(|it| [Some(it.port.to_string()), it.arn.clone()]);
    unused(&bindings.listen, &ports.flatten().collect(), &mut at.at("listen"));
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
