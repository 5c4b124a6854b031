use std::{fmt, sync::Arc};

use rustls::{ServerConfig, version};

use super::{
    certificates::{Certificates, Resolver},
    client_auth::{ClientAuth, ClientVerifier},
    policy::SecurityPolicy,
    resumption::Resumption,
    server_tls::{Current, ServerTls},
};
use crate::ConfigError;

/// The sessions that are kept by default: 5 MB, for 8000 clients.
const DEFAULT_SESSIONS: usize = 16 << 10;

/// Builds a [`ServerTls`].
#[derive(Clone)]
pub struct ServerTlsBuilder {
    certificates: Certificates,
    policy: SecurityPolicy,
    client_auth: ClientAuth,
    alpn: Vec<Vec<u8>>,
    resumption: Option<Resumption>,
}

impl ServerTlsBuilder {
    pub(super) fn new(certificates: Certificates) -> Self {
        Self {
            certificates,
            policy: SecurityPolicy::intermediate(),
            client_auth: ClientAuth::Off,
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            resumption: None,
        }
    }

    setters! {
        /// Sets which versions and cipher suites are offered. Default
        /// [`SecurityPolicy::intermediate`].
        pub fn policy(policy: SecurityPolicy) => policy = policy;
        /// Sets whether clients present a certificate. Default [`ClientAuth::Off`].
        pub fn client_auth(client_auth: ClientAuth) => client_auth = client_auth;
        /// Sets the protocols that clients can choose from (ALPN), the preferred one first. A
        /// client that offers only others is refused; one that offers none is served. An empty list
        /// offers none. Default `h2` and `http/1.1`. A listener without
        /// [`http2`](crate::listener::ListenerBuilder::http2) leaves `h2` out.
        pub fn alpn(protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>)
            => alpn = protocols.into_iter().map(Into::into).collect();
        /// Sets how clients resume sessions. Default a cache of 16 384 sessions with
        /// [`ClientAuth::Off`], and [`Resumption::off`] with the other modes, as in an Application
        /// Load Balancer.
        pub fn resumption(resumption: Resumption) => resumption = Some(resumption);
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// If the crypto provider has none of the policy's cipher suites, or is not a FIPS provider and
    /// the policy demands one; if a protocol is empty or longer than 255 bytes; if a revocation
    /// list is not supported; or if the ticketer fails.
    pub fn build(self) -> Result<ServerTls, ConfigError> {
        if let Some(protocol) = self.alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
            let length = format!("{} bytes long", protocol.len());
            return Err(ConfigError::new("alpn", "1 to 255 bytes").with_value(length));
        }
        let provider = self.certificates.provider();
        let clients = ClientVerifier::new(&self.client_auth, provider)?;
        let (narrowed, missing) = self.policy.narrow(provider)?;
        let versions = match self.policy.has_tls13() {
            true if self.policy.has_tls12() => &[&version::TLS13, &version::TLS12][..],
            true => &[&version::TLS13],
            false => &[&version::TLS12],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(narrowed))
            .with_protocol_versions(versions)
            .map_err(|error| {
                let expected = "one with the versions and cipher suites of the policy";
                ConfigError::new("crypto_provider", expected).with_value(error)
            })?
            .with_client_cert_verifier(clients.for_handshakes())
            .with_cert_resolver(Arc::new(Resolver(self.certificates.clone())));
        config.alpn_protocols = self.alpn;
        config.ignore_client_order = self.policy.prefers_own_order();
        let resumption = self.resumption.unwrap_or_else(|| match self.client_auth {
            ClientAuth::Off => Resumption::cache(DEFAULT_SESSIONS),
            ClientAuth::Passthrough | ClientAuth::Verify(_) => Resumption::off(),
        });
        resumption.apply(&mut config, provider, clients.identity())?;

        let known = self.policy.left_out().iter().map(|&part| part.to_owned());
        let left_out = known.chain(missing).collect();
        let (certificates, policy) = (self.certificates, self.policy);
        let config = Arc::new(config);
        let without_http2 = without_http2(&config);
        let current = Current { config, without_http2, clients, certificates, policy, left_out };
        Ok(ServerTls::new(current))
    }
}

/// Returns the configuration without `h2` in ALPN. Both share certificates and sessions.
fn without_http2(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let is_http2 = |protocol: &Vec<u8>| protocol == b"h2";
    if !config.alpn_protocols.iter().any(is_http2) {
        return Arc::clone(config);
    }
    let mut without = ServerConfig::clone(config);
    without.alpn_protocols.retain(|protocol| !is_http2(protocol));
    Arc::new(without)
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsBuilder")
            .field("certificates", &self.certificates)
            .field("policy", &self.policy.name())
            .field("client_auth", &self.client_auth)
            .field("resumption", &self.resumption)
            .finish_non_exhaustive()
    }
}
