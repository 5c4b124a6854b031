use std::{collections::BTreeMap, fmt, sync::Arc};

use http::request::Parts;
use rustls::crypto::CryptoProvider;

use super::{
    LoadBalancer,
    function::AnyInvoke,
    keys::Keys,
    resources::{Filter, Resources, read_secret},
};
#[cfg(any(feature = "jwt", feature = "oidc"))]
use crate::auth::HttpClient;
#[cfg(feature = "oidc")]
use crate::auth::oidc::SigningKey;
use crate::{
    BoxError,
    alb::config::{Checked, Problem, ProblemKind, Problems, Secret},
    lambda::Invoke,
    listener::tls::Certificate,
};

/// Makes a [`LoadBalancer`] from a configuration and from what no file can contain.
pub struct LoadBalancerBuilder {
    config: Checked,
    crypto_provider: Option<Arc<CryptoProvider>>,
    certificates: BTreeMap<String, Certificate>,
    functions: BTreeMap<String, AnyInvoke>,
    secrets: BTreeMap<String, Secret>,
    filter: Option<Arc<Filter>>,
    #[cfg(feature = "oidc")]
    signing_key: Option<SigningKey>,
    #[cfg(any(feature = "jwt", feature = "oidc"))]
    http_client: Option<HttpClient>,
}

impl LoadBalancerBuilder {
    pub(super) fn new(config: Checked) -> Self {
        Self {
            config,
            crypto_provider: None,
            certificates: BTreeMap::new(),
            functions: BTreeMap::new(),
            secrets: BTreeMap::new(),
            filter: None,
            #[cfg(feature = "oidc")]
            signing_key: None,
            #[cfg(any(feature = "jwt", feature = "oidc"))]
            http_client: None,
        }
    }

    /// Sets the cryptography of TLS, such as `rustls::crypto::ring::default_provider()`. Default:
    /// that of the process. Without TLS, none is needed.
    #[must_use]
    pub fn crypto_provider(mut self, provider: impl Into<Arc<CryptoProvider>>) -> Self {
        self.crypto_provider = Some(provider.into());
        self
    }

    /// Supplies the certificate that the configuration names as `{ program = "name" }`.
    #[must_use]
    pub fn certificate(mut self, name: impl Into<String>, certificate: Certificate) -> Self {
        self.certificates.insert(name.into(), certificate);
        self
    }

    /// Supplies the Lambda function that the configuration names, by the name in its binding, its
    /// ARN or its own name: a client of the AWS SDK, or any function of an invocation.
    #[must_use]
    pub fn function<I>(mut self, name: impl Into<String>, invoke: I) -> Self
    where
        I: Invoke<Future: Send + 'static> + Send + Sync + 'static,
    {
        self.functions.insert(name.into(), AnyInvoke::new(invoke));
        self
    }

    /// Supplies the secret that the configuration names as `{ program = "name" }`.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), Secret::new(secret));
        self
    }

    /// Sets the client that fetches key sets and talks to identity providers. Rules with
    /// authentication need one. It should verify certificates and follow no redirects.
    #[cfg(any(feature = "jwt", feature = "oidc"))]
    #[must_use]
    pub fn http_client(mut self, client: HttpClient) -> Self {
        self.http_client = Some(client);
        self
    }

    /// Sets the key that signs the claims of users, `x-amzn-oidc-data`. Default: targets do not get
    /// that field.
    #[cfg(feature = "oidc")]
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.signing_key = Some(key);
        self
    }

    /// Admits a request to the rules if the closure returns true, in the place of a web application
    /// firewall. Other requests get status 403. If it fails, a request gets status 500, or passes
    /// if the configuration has `waf_fail_open`. Default: all are admitted.
    ///
    /// The closure runs for each request, so it should not block.
    #[must_use]
    pub fn filter(
        mut self,
        admits: impl Fn(&Parts) -> Result<bool, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Arc::new(admits));
        self
    }

    /// Makes the load balancer. It binds no socket and reads the files that the configuration
    /// names; blocking.
    ///
    /// # Errors
    ///
    /// If a part cannot be made, with the path of each problem: a file that is missing, a
    /// certificate without its key, a function that is not supplied.
    pub fn build(self) -> Result<LoadBalancer, Problems> {
        let Self { config, certificates, functions, secrets, filter, .. } = self;
        let keys = make_keys(&config, &secrets)?;
        let resources = Resources {
            keys,
            crypto_provider: self.crypto_provider,
            certificates,
            functions,
            #[cfg(feature = "oidc")]
            secrets,
            filter,
            #[cfg(feature = "oidc")]
            signing_key: self.signing_key,
            #[cfg(any(feature = "jwt", feature = "oidc"))]
            http_client: self.http_client,
        };
        LoadBalancer::new(config, resources)
    }
}

/// Derives the keys of cookies from the secret of the configuration, or from a random one.
fn make_keys(config: &Checked, secrets: &BTreeMap<String, Secret>) -> Result<Keys, Problem> {
    let invalid = |error| Problem::from_config_error("bindings", &error);
    if let Some(source) = &config.bindings.cookie_secret {
        let secret = read_secret(secrets, source, "bindings.cookie_secret")?;
        return Keys::derive(secret.expose().as_bytes()).map_err(invalid);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        let expected = format!("a secret, because the system has no random numbers ({error})");
        Problem::new(ProblemKind::Invalid, "bindings.cookie_secret", expected)
    })?;
    Keys::derive(&random).map_err(invalid)
}

impl fmt::Debug for LoadBalancerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerBuilder").finish_non_exhaustive()
    }
}
