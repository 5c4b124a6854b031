use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    Bindings, Certificate, CertificateBinding, Config, FunctionBinding, JwksBinding, Listener,
    SecretSource, Target, TargetGroup, TargetKind,
};
use crate::alb::config::Problem;

/// A target and the address of its binding, or its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::alb) struct BoundTarget {
    /// Where requests go.
    pub(in crate::alb) address: SocketAddr,
    /// The zone; `None` for each zone.
    pub(in crate::alb) zone: Option<String>,
}

/// What the names of a configuration stand for.
impl Config {
    /// Returns the addresses that a listener binds: those of its binding, or its own with its port.
    pub(in crate::alb) fn bound_addresses(&self, listener: &Listener) -> Vec<SocketAddr> {
        let bindings = &self.bindings.listen;
        let bound = entry(bindings, &listener.port.to_string(), listener.arn.as_deref());
        let own = || listener.addresses.iter().map(|ip| SocketAddr::new(*ip, listener.port));
        bound.cloned().unwrap_or_else(|| own().collect())
    }

    /// Returns the addresses of a target group. A Lambda function has none.
    ///
    /// # Errors
    ///
    /// If a target has no address. A configuration that passes its check has none of these.
    pub(in crate::alb) fn bound_targets(
        &self,
        group: &TargetGroup,
    ) -> Result<Vec<BoundTarget>, Problem> {
        if group.kind == TargetKind::Lambda {
            return Ok(Vec::new());
        }
        if let Some(addresses) = self.bound_group(group) {
            let bound = |address: &SocketAddr| BoundTarget { address: *address, zone: None };
            return Ok(addresses.iter().map(bound).collect());
        }
        let bind = |(index, target): (usize, &Target)| {
            let address = self.bound_target(group, target).map_err(|expected| {
                let path = format!("target_groups.{}.targets[{index}]", group.name);
                Problem::invalid(path, expected).with_value(target.name())
            })?;
            let zone = target.zone.clone().filter(|zone| zone != "all");
            Ok(BoundTarget { address, zone })
        };
        group.targets.iter().enumerate().map(bind).collect()
    }

    /// Returns the binding of a whole group.
    pub(in crate::alb::config) fn bound_group(&self, group: &TargetGroup) -> Option<&[SocketAddr]> {
        entry(&self.bindings.groups, &group.name, group.arn.as_deref()).map(Vec::as_slice)
    }

    /// Returns the address of a target, or what was expected.
    pub(in crate::alb::config) fn bound_target(
        &self,
        group: &TargetGroup,
        target: &Target,
    ) -> Result<SocketAddr, &'static str> {
        let port = target.port.or(group.port);
        let bindings = &self.bindings.targets;
        let with_port = port.map(|port| Target { port: Some(port), ..target.clone() }.name());
        let bound = with_port.and_then(|name| bindings.get(&name));
        if let Some(address) = bound.or_else(|| bindings.get(&target.id)) {
            return Ok(*address);
        }
        match (target.id.parse::<IpAddr>(), port) {
            (Ok(_), Some(0)) => Err("a port from 1 to 65535"),
            (Ok(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
            (Ok(_), None) => Err("a port, of the target or of its group"),
            (Err(_), _) if group.kind == TargetKind::Instance => {
                Err("an id with an entry in `bindings.targets`, because ids have no address")
            }
            (Err(_), _) => {
                Err("an IP address, such as 10.0.0.1:80, or a name in `bindings.targets`")
            }
        }
    }

    /// Returns where the function of a group is, by its ARN or its name. `None`: the program
    /// supplies it.
    pub(in crate::alb) fn bound_function(&self, group: &TargetGroup) -> Option<&FunctionBinding> {
        let arn = &group.targets.first().filter(|_| group.kind == TargetKind::Lambda)?.id;
        let functions = &self.bindings.functions;
        functions.get(arn).or_else(|| functions.get(function_name(arn)))
    }

    /// Returns where a certificate is. A certificate that passes its check has a binding.
    pub(in crate::alb) fn bound_certificate<'a>(
        &'a self,
        certificate: &'a Certificate,
    ) -> Option<&'a CertificateBinding> {
        match certificate {
            Certificate::Named(name) => self.bindings.certificates.get(name),
            Certificate::Bound(binding) => Some(binding),
        }
    }

    /// Makes the relative paths of files start at `directory`. Files that are read do so at their
    /// own directory.
    pub fn resolve_paths(&mut self, directory: &Path) {
        self.bindings.resolve_paths(directory);
        for certificate in self.listeners.iter_mut().flat_map(|it| &mut it.certificates) {
            if let Certificate::Bound(binding) = certificate {
                binding.resolve_paths(directory);
            }
        }
    }
}

impl Bindings {
    fn resolve_paths(&mut self, directory: &Path) {
        self.certificates.values_mut().for_each(|it| it.resolve_paths(directory));
        for store in self.trust_stores.values_mut() {
            resolve(&mut store.certificates, directory);
            store.revocations.iter_mut().for_each(|path| resolve(path, directory));
        }
        for source in self.client_secrets.values_mut().chain(&mut self.cookie_secret) {
            if let SecretSource::File(path) = source {
                resolve(path, directory);
            }
        }
        for key_set in self.jwks.values_mut() {
            if let JwksBinding::File(path) = key_set {
                resolve(path, directory);
            }
        }
    }
}

impl CertificateBinding {
    fn resolve_paths(&mut self, directory: &Path) {
        if let Self::Files { certificate, key } = self {
            resolve(certificate, directory);
            resolve(key, directory);
        }
    }
}

fn resolve(path: &mut PathBuf, directory: &Path) {
    // An absolute path replaces the directory.
    *path = directory.join(&*path);
}

/// Returns the entry of a name, or else that of an ARN.
fn entry<'a, T>(bindings: &'a BTreeMap<String, T>, name: &str, arn: Option<&str>) -> Option<&'a T> {
    bindings.get(name).or_else(|| bindings.get(arn?))
}

/// Returns the name of a function from its ARN, `…:function:name` or `…:function:name:alias`.
pub(in crate::alb::config) fn function_name(arn: &str) -> &str {
    let name = arn.split_once(":function:").and_then(|(_, rest)| rest.split(':').next());
    name.unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        [[listeners]]
        port = 443
        protocol = "https"
        certificates = ["shop", { certificate = "b.pem", key = "b.key" }]
        [[listeners]]
        port = 80
        addresses = ["::1"]

        [[target_groups]]
        name = "web"
        kind = "instance"
        port = 8080
        targets = ["10.0.1.10", "10.0.2.10:81", { id = "i-1", zone = "a" }, { id = "i-1", port = 82, zone = "all" }]
        [[target_groups]]
        name = "pinned"
        targets = ["10.0.0.1:80"]
        [[target_groups]]
        name = "checkout"
        kind = "lambda"
        targets = ["arn:aws:lambda:us-east-1:000000000000:function:checkout"]

        [bindings.listen]
        443 = ["127.0.0.1:8443"]
        [bindings.certificates]
        shop = { certificate = "a.pem", key = "/a.key" }
        [bindings.targets]
        "10.0.1.10:8080" = "127.0.0.1:9001"
        i-1 = "127.0.0.1:9002"
        "i-1:82" = "127.0.0.1:9003"
        [bindings.groups]
        pinned = ["127.0.0.1:9004"]
        [bindings.functions]
        checkout = { endpoint = "http://127.0.0.1:9100" }
    "#;

    #[test]
    fn names_stand_for_their_bindings() {
        let mut config = Config::from_toml(TOML).unwrap();
        config.resolve_paths(Path::new("/etc"));
        let addresses = |index: usize| {
            let bound = config.bound_addresses(&config.listeners[index]);
            bound.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses(0), ["127.0.0.1:8443"]);
        assert_eq!(addresses(1), ["[::1]:80"]);
        let targets = |group: &str| {
            let bound = config.bound_targets(config.target_group(group).unwrap()).unwrap();
            let text =
                |it: &BoundTarget| format!("{} {}", it.address, it.zone.as_deref().unwrap_or("-"));
            bound.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            targets("web"),
            ["127.0.0.1:9001 -", "10.0.2.10:81 -", "127.0.0.1:9002 a", "127.0.0.1:9003 -"]
        );
        assert_eq!(targets("pinned"), ["127.0.0.1:9004 -"]);
        assert!(targets("checkout").is_empty());
        let function = config.bound_function(config.target_group("checkout").unwrap());
        let endpoint = FunctionBinding::Endpoint("http://127.0.0.1:9100".to_owned());
        assert_eq!(function, Some(&endpoint));
        let certificates = &config.listeners[0].certificates;
        let files = |certificate, key| Some(CertificateBinding::files(certificate, key));
        let bound = certificates.iter().map(|it| config.bound_certificate(it).cloned());
        assert_eq!(
            bound.collect::<Vec<_>>(),
            [files("/etc/a.pem", "/a.key"), files("/etc/b.pem", "/etc/b.key")]
        );
    }
}
