use std::{net::SocketAddr, ops::Deref};

use super::bindings;
use crate::alb::config::{
    Certificate, CertificateBinding, Config, FunctionBinding, JwksBinding, Listener, Note, Problem,
    SecretSource, TargetGroup, TrustStoreBinding,
};

/// A configuration that has passed its [check](Config::check).
///
/// The target groups that its actions name exist, and what its names stand for is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    config: Config,
    notes: Vec<Note>,
    accepted: Vec<Problem>,
}

/// A target and what its name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundTarget {
    /// The target's name: the id, and the port if it has one.
    pub name: String,
    /// The zone; `None` for each zone.
    pub zone: Option<String>,
    /// Where requests go.
    pub destination: Destination,
}

/// Where the requests of a target go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// To an address.
    Address(SocketAddr),
    /// To a Lambda function.
    Function {
        /// The ARN or the name of the function.
        arn: String,
        /// Where it is.
        binding: FunctionBinding,
    },
}

impl Checked {
    pub(super) fn new(config: Config, notes: Vec<Note>, accepted: Vec<Problem>) -> Self {
        Self { config, notes, accepted }
    }

    /// Returns what has no effect, or is worth a look.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the problems that were accepted.
    #[must_use]
    pub fn accepted(&self) -> &[Problem] {
        &self.accepted
    }

    /// Returns the configuration.
    #[must_use]
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Returns the addresses that a listener binds.
    #[must_use]
    pub fn addresses_of(&self, listener: &Listener) -> Vec<SocketAddr> {
        let bindings = &self.config.bindings.listen;
        bindings::of(bindings, &listener.port.to_string(), listener.arn.as_deref())
            .cloned()
            .unwrap_or_else(|| {
                listener.addresses.iter().map(|ip| SocketAddr::new(*ip, listener.port)).collect()
            })
    }

    /// Returns the targets of a group.
    #[must_use]
    pub fn targets_of(&self, group: &TargetGroup) -> Vec<BoundTarget> {
        // A check has found a destination for each target.
        bindings::targets(&self.config, group).into_iter().filter_map(Result::ok).collect()
    }

    /// Returns where a certificate is.
    #[must_use]
    pub fn certificate<'a>(
        &'a self,
        certificate: &'a Certificate,
    ) -> Option<&'a CertificateBinding> {
        match certificate {
            Certificate::Named(name) => self.config.bindings.certificates.get(name),
            Certificate::Bound(binding) => Some(binding),
        }
    }

    /// Returns where a trust store is.
    #[must_use]
    pub fn trust_store(&self, name: &str) -> Option<&TrustStoreBinding> {
        self.config.bindings.trust_stores.get(name)
    }

    /// Returns where the secret of an OpenID Connect client is.
    #[must_use]
    pub fn client_secret(&self, client_id: &str) -> Option<&SecretSource> {
        self.config.bindings.client_secrets.get(client_id)
    }

    /// Returns where the key set of a URL is: there, unless a binding says otherwise.
    #[must_use]
    pub fn jwks(&self, url: &str) -> JwksBinding {
        let binding = self.config.bindings.jwks.get(url);
        binding.cloned().unwrap_or_else(|| JwksBinding::Url(url.to_owned()))
    }
}

impl Deref for Checked {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}
