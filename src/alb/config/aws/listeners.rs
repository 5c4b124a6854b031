use super::{
    attributes,
    document::{Documents, Read},
    import::Findings,
    resource::{Assignment, Resource},
    rules::actions,
    shapes::{Listener, MutualAuthentication},
};
use crate::alb::config::{self, Certificate, ListenerProtocol, MutualTls, Problem};

/// Translates the listeners of the load balancer, by port.
pub(super) fn of(
    documents: &Documents,
    load_balancer: &str,
    findings: &mut Findings,
) -> Vec<config::Listener> {
    let all: Vec<_> = documents.listeners.iter().collect();
    let resources: Vec<_> = all.iter().map(|read| resource(&read.shape)).collect();
    let is_own = |read: &&Read<Listener>| {
        read.shape.load_balancer_arn.as_deref().is_none_or(|arn| arn == load_balancer)
    };
    let mut listeners: Vec<Option<config::Listener>> = all
        .iter()
        .map(|read| {
            Some(read).filter(|read| is_own(read)).and_then(|read| translate(read, findings))
        })
        .collect();
    let mut certificates = Assignment::new("listener-certificates", &resources);
    for list in &documents.certificates {
        // Certificates of listeners of other load balancers are left out.
        let Some(index) = certificates.resource_of(list, findings) else { continue };
        let Some(listener) = &mut listeners[index] else { continue };
        for read in &list.items {
            findings.leftovers.of(read);
            add_certificate(listener, &read.shape);
        }
    }
    let places = listeners.iter_mut().map(|listener| {
        listener.as_mut().map(|it| (format!("listeners.{}", it.port), &mut it.attributes))
    });
    attributes::of_listeners(documents, &resources, places.collect(), findings);
    let mut own: Vec<_> = listeners.into_iter().flatten().collect();
    own.sort_by_key(|listener| listener.port);
    own
}

fn resource(shape: &Listener) -> Resource {
    let port = shape.port.map(|port| port.to_string());
    Resource::new(shape.listener_arn.as_deref(), port.as_deref())
}

fn translate(read: &Read<Listener>, findings: &mut Findings) -> Option<config::Listener> {
    findings.leftovers.of(read);
    let shape = &read.shape;
    let protocol = match shape.protocol.as_deref() {
        Some("HTTP") => ListenerProtocol::Http,
        Some("HTTPS") => ListenerProtocol::Https,
        other => {
            let value = other.unwrap_or("absent");
            findings.invalid(read.at("Protocol"), value, "HTTP or HTTPS");
            return None;
        }
    };
    let Some(port) = shape.port else {
        findings.invalid(read.at("Port"), "absent", "a port from 1 to 65535");
        return None;
    };
    let mut listener = config::Listener {
        arn: shape.listener_arn.clone(),
        protocol,
        security_policy: shape.ssl_policy.clone(),
        mutual_tls: mutual_tls(read, findings),
        ..config::Listener::new(port)
    };
    for certificate in shape.certificates.iter().flatten() {
        add_certificate(&mut listener, certificate);
    }
    let default = shape.default_actions.as_deref().unwrap_or_default();
    if let Some(actions) = actions(default, &read.at("DefaultActions"), findings) {
        (listener.default_authenticate, listener.default_action) = actions;
    }
    Some(listener)
}

/// Adds a certificate once. The default one is the first.
fn add_certificate(listener: &mut config::Listener, shape: &super::shapes::Certificate) {
    let Some(arn) = &shape.certificate_arn else { return };
    let certificate = Certificate::Named(arn.clone());
    if shape.is_default == Some(true) {
        listener.certificates.retain(|other| *other != certificate);
        listener.certificates.insert(0, certificate);
    } else if !listener.certificates.contains(&certificate) {
        listener.certificates.push(certificate);
    }
}

fn mutual_tls(read: &Read<Listener>, findings: &mut Findings) -> MutualTls {
    let Some(shape) = &read.shape.mutual_authentication else { return MutualTls::Off };
    let MutualAuthentication { mode, trust_store_arn, .. } = shape;
    match mode.as_deref() {
        None | Some("off") => MutualTls::Off,
        Some("passthrough") => MutualTls::Passthrough,
        Some("verify") => {
            let Some(trust_store) = trust_store_arn.clone() else {
                let path = read.at("MutualAuthentication.TrustStoreArn");
                findings.problems.push(Problem::invalid(path, "the ARN of a trust store"));
                return MutualTls::Off;
            };
            MutualTls::Verify {
                trust_store,
                ignore_expiry: shape.ignore_client_certificate_expiry.unwrap_or(false),
                advertise_ca_names: match shape.advertise_trust_store_ca_names.as_deref() {
                    Some("on") => true,
                    None | Some("off") => false,
                    Some(other) => {
                        let path = read.at("MutualAuthentication.AdvertiseTrustStoreCaNames");
                        findings.invalid(path, other, "on or off");
                        false
                    }
                },
            }
        }
        Some(other) => {
            let path = read.at("MutualAuthentication.Mode");
            findings.invalid(path, other, "off, passthrough or verify");
            MutualTls::Off
        }
    }
}
