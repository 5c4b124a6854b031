use serde::Serialize;
use serde_json::Value;

use super::document::Read;
use crate::alb::config::{Leftover, LeftoverKind};

/// The members of AWS's shapes that have no meaning outside of AWS, and why. An import notes those
/// that are present.
pub(super) const IGNORED_MEMBERS: [(&str, &str); 28] = [
    ("LoadBalancers.DNSName", "clients have to be sent to this program's address"),
    ("LoadBalancers.CanonicalHostedZoneId", "it is a property of AWS's DNS"),
    ("LoadBalancers.CreatedTime", "it describes the resource in AWS"),
    ("LoadBalancers.VpcId", "the network belongs to AWS"),
    ("LoadBalancers.State", "it describes the resource in AWS"),
    ("LoadBalancers.SecurityGroups", "this program has no firewall: the host's is needed"),
    ("LoadBalancers.IpAddressType", "the listeners' addresses decide it"),
    ("LoadBalancers.CustomerOwnedIpv4Pool", "the addresses belong to AWS"),
    (
        "LoadBalancers.EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic",
        "PrivateLink belongs to AWS",
    ),
    ("LoadBalancers.EnablePrefixForIpv6SourceNat", "it is for Network Load Balancers"),
    ("LoadBalancers.IpamPools", "the addresses belong to AWS"),
    ("AvailabilityZones.SubnetId", "the network belongs to AWS"),
    ("AvailabilityZones.OutpostId", "the hardware belongs to AWS"),
    ("AvailabilityZones.LoadBalancerAddresses", "the addresses belong to AWS"),
    ("AvailabilityZones.SourceNatIpv6Prefixes", "it is for Network Load Balancers"),
    ("MutualAuthentication.TrustStoreAssociationStatus", "it describes the resource in AWS"),
    ("AuthenticateOidcConfig.UseExistingClientSecret", "it is a parameter of changes"),
    ("AuthenticateOidcConfig.ClientSecret", "secrets come from `bindings.client_secrets`"),
    ("TargetGroups.VpcId", "the network belongs to AWS"),
    ("TargetGroups.LoadBalancerArns", "rules decide which groups are used"),
    ("TargetGroups.IpAddressType", "the targets' addresses decide it"),
    ("TargetHealthDescriptions.HealthCheckPort", "the target group decides it"),
    ("TargetHealthDescriptions.TargetHealth", "this program checks the targets itself"),
    ("TargetHealthDescriptions.AnomalyDetection", "this program observes the targets itself"),
    ("TargetHealthDescriptions.AdministrativeOverride", "zonal shifts are calls, not settings"),
    ("Target.QuicServerId", "it is for Network Load Balancers"),
    ("SourceIpConfig.IpAddressType", "it is for Network Load Balancers"),
    ("Listeners.AlpnPolicy", "it is for Network Load Balancers"),
];

/// Collects what an import finds and the model has no place for.
#[derive(Default)]
pub(super) struct Leftovers(Vec<Leftover>);

impl Leftovers {
    /// Returns what was found: first what matters.
    pub(super) fn finish(mut self) -> Vec<Leftover> {
        self.0.sort_by_key(|leftover| leftover.kind == LeftoverKind::Ignored);
        self.0
    }

    /// Adds a part that does not matter, once.
    pub(super) fn ignore(&mut self, path: impl Into<String>, why: &str) {
        let (path, kind) = (path.into(), LeftoverKind::Ignored);
        if !self.0.iter().any(|leftover| leftover.path == path) {
            self.0.push(Leftover { path, kind, value: None, why: why.to_owned() });
        }
    }

    /// Adds a part that matters.
    pub(super) fn unsupported(
        &mut self,
        path: impl Into<String>,
        value: Option<String>,
        why: impl Into<String>,
    ) {
        let kind = LeftoverKind::Unsupported;
        self.0.push(Leftover { path: path.into(), kind, value, why: why.into() });
    }

    /// Adds the members that are in the JSON and not in the shape, and those that are listed above.
    pub(super) fn of<T: Serialize>(&mut self, read: &Read<T>) {
        // A shape has texts, numbers and lists only, so this cannot fail.
        let known = serde_json::to_value(&read.shape).unwrap_or(Value::Null);
        let list = read.place.split('[').next().unwrap_or_default();
        self.compare(&read.value, &known, &read.at(""), list);
    }

    /// Compares the JSON of an import with what the shape keeps of it. `kind` is `place` without
    /// positions.
    fn compare(&mut self, value: &Value, known: &Value, place: &str, kind: &str) {
        match (value, known) {
            (Value::Object(members), Value::Object(known)) => {
                for (name, value) in members {
                    let (place, kind) = (format!("{place}.{name}"), format!("{kind}.{name}"));
                    let is_empty = match value {
                        Value::Null => true,
                        Value::String(text) => text.is_empty(),
                        Value::Array(items) => items.is_empty(),
                        Value::Object(members) => members.is_empty(),
                        Value::Bool(_) | Value::Number(_) => false,
                    };
                    if is_empty {
                        continue;
                    }
                    if let Some((member, why)) = listed(&kind) {
                        self.ignore(*member, why);
                    } else if let Some(known) = known.get(name) {
                        self.compare(value, known, &place, &kind);
                    } else {
                        let why = "this library does not know this member";
                        // Its value is left out, because it could be a secret.
                        self.unsupported(place, None, why);
                    }
                }
            }
            (Value::Array(items), Value::Array(known)) => {
                for (index, (item, known)) in items.iter().zip(known).enumerate() {
                    self.compare(item, known, &format!("{place}[{index}]"), kind);
                }
            }
            _ => {}
        }
    }
}

/// Returns the entry for a member: its path, or the end of it.
fn listed(kind: &str) -> Option<&'static (&'static str, &'static str)> {
    IGNORED_MEMBERS.iter().find(|(member, _)| {
        kind.strip_suffix(member).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}
