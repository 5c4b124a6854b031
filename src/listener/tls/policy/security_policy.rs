use rustls::{
    CipherSuite, NamedGroup,
    crypto::{CryptoProvider, SupportedKxGroup},
};

use super::alb;
use crate::{ConfigError, listener::tls::details::cipher_suite_name};

/// The versions of TLS, the cipher suites and the key exchanges that a listener offers.
///
/// | policy | versions | for |
/// |---|---|---|
/// | [`modern`](Self::modern) | 1.3 | clients since about 2020 |
/// | [`intermediate`](Self::intermediate) | 1.2, 1.3 | all clients that are still supported; the default |
/// | [`alb`](Self::alb) | as named | those of an existing Application Load Balancer |
///
/// All suites have forward secrecy and authenticated encryption; rustls has no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityPolicy {
    pub(super) name: &'static str,
    /// In the order of preference.
    pub(super) tls13: &'static [CipherSuite],
    pub(super) tls12: &'static [CipherSuite],
    pub(super) groups: Groups,
    pub(super) order: Order,
    pub(super) needs_fips: bool,
    pub(super) left_out: Vec<&'static str>,
}

/// Which key exchanges are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// Those of the crypto provider, in its order.
    All,
    /// Elliptic curves.
    Classical,
    /// Hybrids of ML-KEM and an elliptic curve, and elliptic curves.
    Hybrid,
}

/// Who chooses among the suites that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The client, which knows what its hardware does fast.
    Client,
    Server,
}

const TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

const TLS12: [CipherSuite; 6] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

impl SecurityPolicy {
    /// Offers TLS 1.3, with all its suites and all key exchanges of the crypto provider.
    #[must_use]
    pub const fn modern() -> Self {
        Self::own("modern", &[])
    }

    /// Offers TLS 1.2 and 1.3, with all suites of rustls and all key exchanges of the crypto
    /// provider.
    #[must_use]
    pub const fn intermediate() -> Self {
        Self::own("intermediate", &TLS12)
    }

    const fn own(name: &'static str, tls12: &'static [CipherSuite]) -> Self {
        Self {
            name,
            tls13: &TLS13,
            tls12,
            groups: Groups::All,
            order: Order::Client,
            needs_fips: false,
            left_out: Vec::new(),
        }
    }

    /// Returns the policy of an Application Load Balancer by its name, such as
    /// `ELBSecurityPolicy-TLS13-1-2-Res-2021-06`.
    ///
    /// Many policies name versions and suites that rustls does not have, because they are weak.
    /// Then the policy is the part that rustls has, and [`left_out`](Self::left_out) names the
    /// rest. In TLS 1.2, none of these policies has ChaCha20. The server chooses the suite.
    ///
    /// # Errors
    ///
    /// If the name is not one of [`alb_names`](Self::alb_names).
    pub fn alb(name: &str) -> Result<Self, ConfigError> {
        alb::find(name).ok_or_else(|| {
            let expected = "a security policy of Application Load Balancers that rustls can serve, \
                            such as `ELBSecurityPolicy-TLS13-1-2-Res-2021-06`";
            ConfigError::new("policy", expected).with_value(name)
        })
    }

    /// Returns the names that [`alb`](Self::alb) accepts.
    pub fn alb_names() -> impl Iterator<Item = &'static str> {
        alb::names()
    }

    /// Returns the name: that of the Application Load Balancer, `modern`, or `intermediate`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns whether rustls can do all that the policy names.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.left_out.is_empty()
    }

    /// Returns the versions, suites and key exchanges that the policy names and rustls does not
    /// have, in OpenSSL's words: `TLSv1.1`, `ECDHE-RSA-AES128-SHA`.
    ///
    /// [`ServerTls::left_out`](crate::listener::tls::ServerTls::left_out) adds what the crypto
    /// provider does not have.
    #[must_use]
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }

    pub(in crate::listener::tls) fn has_tls13(&self) -> bool {
        !self.tls13.is_empty()
    }

    pub(in crate::listener::tls) fn has_tls12(&self) -> bool {
        !self.tls12.is_empty()
    }

    pub(in crate::listener::tls) fn prefers_own_order(&self) -> bool {
        self.order == Order::Server
    }

    /// Returns a provider with what the policy allows, and the names of what it lacks.
    pub(in crate::listener::tls) fn narrow(
        &self,
        provider: &CryptoProvider,
    ) -> Result<(CryptoProvider, Vec<String>), ConfigError> {
        if self.needs_fips && !provider.fips() {
            let expected = "a policy without FIPS, or a FIPS crypto provider";
            return Err(ConfigError::new("policy", expected).with_value(self.name));
        }
        let mut missing = Vec::new();
        let mut cipher_suites = Vec::new();
        for &wanted in self.tls13.iter().chain(self.tls12) {
            match provider.cipher_suites.iter().find(|suite| suite.suite() == wanted) {
                Some(&suite) => cipher_suites.push(suite),
                None => missing.push(cipher_suite_name(wanted).to_owned()),
            }
        }
        let kx_groups = self.groups.of(provider);
        for hybrid in self.groups.hybrids() {
            if !kx_groups.iter().any(|group| group.name() == *hybrid) {
                missing.push(format!("{hybrid:?}"));
            }
        }
        if cipher_suites.is_empty() || kx_groups.is_empty() {
            let expected = "one with cipher suites and key exchanges of the policy";
            return Err(ConfigError::new("crypto_provider", expected).with_value(self.name));
        }
        Ok((CryptoProvider { cipher_suites, kx_groups, ..provider.clone() }, missing))
    }
}

impl Default for SecurityPolicy {
    /// Returns [`intermediate`](Self::intermediate).
    fn default() -> Self {
        Self::intermediate()
    }
}

impl Groups {
    fn of(self, provider: &CryptoProvider) -> Vec<&'static dyn SupportedKxGroup> {
        let is_offered = |group: NamedGroup| match self {
            Self::All => true,
            Self::Classical => CURVES.contains(&group),
            Self::Hybrid => CURVES.contains(&group) || HYBRIDS.contains(&group),
        };
        let groups = provider.kx_groups.iter().copied();
        groups.filter(|group| is_offered(group.name())).collect()
    }

    fn hybrids(self) -> &'static [NamedGroup] {
        if self == Self::Hybrid { &HYBRIDS } else { &[] }
    }
}

const CURVES: [NamedGroup; 4] =
    [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1, NamedGroup::secp521r1];
/// Those that rustls has a name for.
const HYBRIDS: [NamedGroup; 2] = [NamedGroup::X25519MLKEM768, NamedGroup::secp256r1MLKEM768];
