use std::{fmt, sync::Arc};

use rustls::crypto::CryptoProvider;

use super::{
    certificate::Certificate,
    handle::Certificates,
    loaded::{Loaded, Role},
    set::{CertificateSet, UnknownName},
};
use crate::{ConfigError, crypto_provider};

/// Builds [`Certificates`].
#[derive(Default)]
pub struct CertificatesBuilder {
    defaults: Vec<Certificate>,
    named: Vec<Certificate>,
    unknown: UnknownName,
    provider: Option<Arc<CryptoProvider>>,
    replaced: Option<Certificates>,
}

impl CertificatesBuilder {
    setters! {
        /// Sets what a client gets that asks for no name, or for an unknown one. Default
        /// [`UnknownName::UseDefault`].
        pub fn unknown_name(unknown: UnknownName) => unknown = unknown;
        /// Uses this provider for the keys, and for the handshakes of
        /// [`ServerTls`](crate::listener::tls::ServerTls). By default, that of the process.
        pub fn crypto_provider(provider: Arc<CryptoProvider>) => provider = Some(provider);
    }

    /// Adds a default certificate, which also serves its own names. A second one is for clients
    /// that cannot verify the first: one with an ECDSA key, one with an RSA key.
    #[must_use]
    pub fn default_certificate(mut self, certificate: Certificate) -> Self {
        self.defaults.push(certificate);
        self
    }

    /// Adds a certificate that serves its names. Several may have the same name.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.named.push(certificate);
        self
    }

    /// Names the certificates that the new ones will [`replace`](Certificates::replace). One that
    /// has expired while it was served can be among the new ones: it is logged, and is no error, so
    /// that it does not keep others from being replaced. Default none.
    #[must_use]
    pub fn replacing(mut self, served: &Certificates) -> Self {
        self.replaced = Some(served.clone());
        self
    }

    /// Reads and checks all certificates. This blocks the thread while it reads.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the certificate, such as `certificates[2].key`, and the path of the
    /// file:
    ///
    /// - A file cannot be read, or has no certificate or key.
    /// - A key is encrypted, of an unsupported kind, or not that of the first certificate.
    /// - A certificate has expired, or is not yet valid, unless it is served
    ///   ([`replacing`](Self::replacing)).
    /// - A certificate has no DNS name, unless it is a default one; a name is not a DNS name.
    /// - There is no default certificate, except with [`UnknownName::Refuse`].
    /// - There is no crypto provider.
    pub fn build(self) -> Result<Certificates, ConfigError> {
        let provider = crypto_provider::or_process_default(self.provider)?;
        if self.defaults.is_empty() && self.unknown == UnknownName::UseDefault {
            let expected = "at least one, or `unknown_name` to be `Refuse`";
            return Err(ConfigError::new("default_certificate", expected));
        }
        if self.defaults.is_empty() && self.named.is_empty() {
            return Err(ConfigError::new("certificates", "at least one"));
        }
        let served = self.replaced.map(|served| served.shared.set.load_full());
        let served = served.as_ref().map_or(&[][..], |set| &set.entries);
        let mut entries = Vec::new();
        for (role, certificates) in [(Role::Default, self.defaults), (Role::ByName, self.named)] {
            for (index, certificate) in certificates.into_iter().enumerate() {
                let loaded = Loaded::load(Arc::new(certificate), role, index, &provider, served)?;
                entries.push(Arc::new(loaded));
            }
        }
        let set = CertificateSet::new(entries, self.unknown);
        set.warn_of_invalid();
        Ok(Certificates::new(set, provider))
    }
}

impl fmt::Debug for CertificatesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatesBuilder")
            .field("default_certificates", &self.defaults)
            .field("certificates", &self.named)
            .field("unknown_name", &self.unknown)
            .finish_non_exhaustive()
    }
}
