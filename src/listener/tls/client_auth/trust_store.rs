use std::{fmt, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::CertificateRevocationListDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::expiry::IgnoreExpiry;
use crate::{
    ConfigError,
    listener::tls::input::{self, Input, Subject},
};

/// The certificate authorities and the revocation lists by which a listener verifies clients.
///
/// Each certificate of the bundle is an authority of its own, also an intermediate one. It counts
/// until it is removed from the bundle: the end of its own validity is not checked.
///
/// ```no_run
/// use tower_lb::listener::tls::{ClientAuth, TrustStore};
///
/// # fn example() -> Result<(), tower_lb::ConfigError> {
/// let store = TrustStore::builder()
///     .bundle_file("tls/clients-ca.pem")
///     .crl_file("tls/clients.crl")
///     .build()?;
/// let client_auth = ClientAuth::Verify(store);
/// # let _ = client_auth;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TrustStore {
    roots: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    allow_anonymous: bool,
    ignore_expiry: bool,
    advertise_ca_names: bool,
    allow_unknown_revocation: bool,
}

impl TrustStore {
    /// Returns a builder without authorities.
    #[must_use]
    pub fn builder() -> TrustStoreBuilder {
        TrustStoreBuilder::default()
    }

    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let roots = Arc::clone(&self.roots);
        let provider = Arc::clone(provider);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .with_crls(self.crls.iter().cloned());
        if self.settings.allow_anonymous {
            builder = builder.allow_unauthenticated();
        }
        if !self.settings.advertise_ca_names {
            builder = builder.clear_root_hint_subjects();
        }
        if self.settings.allow_unknown_revocation {
            builder = builder.allow_unknown_revocation_status();
        }
        let verifier = builder.build().map_err(|error| {
            ConfigError::new("trust_store", format!("authorities and valid CRLs ({error})"))
        })?;
        Ok(match self.settings.ignore_expiry {
            true => Arc::new(IgnoreExpiry::new(verifier)),
            false => verifier,
        })
    }

    /// Writes everything that decides which clients are accepted. Two stores that write the same
    /// accept the same clients.
    pub(super) fn write_identity(&self, identity: &mut Vec<u8>) {
        let Settings {
            allow_anonymous,
            ignore_expiry,
            advertise_ca_names,
            allow_unknown_revocation,
        } = self.settings;
        let settings =
            [allow_anonymous, ignore_expiry, advertise_ca_names, allow_unknown_revocation];
        identity.extend(settings.map(u8::from));
        // Each part is preceded by its length, so that no two lists of parts look alike.
        let mut write = |part: &[u8]| {
            identity.extend((part.len() as u64).to_be_bytes());
            identity.extend(part);
        };
        for root in &self.roots.roots {
            write(&root.subject);
            write(&root.subject_public_key_info);
            write(root.name_constraints.as_deref().unwrap_or_default());
        }
        write(b"crls");
        self.crls.iter().for_each(|crl| write(crl));
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStore")
            .field("authorities", &self.roots.len())
            .field("crls", &self.crls.len())
            .field("settings", &self.settings)
            .finish()
    }
}

/// Builds a [`TrustStore`].
#[derive(Default)]
pub struct TrustStoreBuilder {
    bundles: Vec<Input>,
    crls: Vec<Input>,
    settings: Settings,
}

impl TrustStoreBuilder {
    setters! {
        /// Sets whether clients without a certificate are accepted. One that presents a certificate
        /// is verified all the same. Default `false`.
        pub fn allow_anonymous(allowed: bool) => settings.allow_anonymous = allowed;
        /// Sets whether the certificate of a client is accepted after its end: it is verified as of
        /// its last second. Default `false`.
        pub fn ignore_expiry(ignored: bool) => settings.ignore_expiry = ignored;
        /// Sets whether the listener tells clients the names of the authorities, so that they can
        /// choose a certificate. Default `false`.
        pub fn advertise_ca_names(advertised: bool) => settings.advertise_ca_names = advertised;
        /// Sets whether a certificate is accepted whose issuer has no revocation list here. With
        /// `false`, one list makes lists of all issuers in a chain necessary, except for that of
        /// the authority itself. Without any list, revocation is not checked. Default `false`.
        pub fn allow_unknown_revocation(allowed: bool)
            => settings.allow_unknown_revocation = allowed;
    }

    /// Adds the authorities of a file: certificates in PEM, or one in DER.
    #[must_use]
    pub fn bundle_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.bundles.push(Input::File(path.into()));
        self
    }

    /// Adds authorities: certificates in PEM, or one in DER.
    #[must_use]
    pub fn bundle(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.bundles.push(Input::Bytes(certificates.into()));
        self
    }

    /// Adds the revocation lists of a file: in PEM, or one in DER.
    ///
    /// A list counts also after its time of the next update.
    #[must_use]
    pub fn crl_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.crls.push(Input::File(path.into()));
        self
    }

    /// Adds revocation lists: in PEM, or one in DER.
    #[must_use]
    pub fn crl(mut self, lists: impl Into<Vec<u8>>) -> Self {
        self.crls.push(Input::Bytes(lists.into()));
        self
    }

    /// Reads and checks the certificates and lists. This blocks the thread while it reads.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the path of a file that cannot be read or parsed. There must be at
    /// least one authority.
    pub fn build(self) -> Result<TrustStore, ConfigError> {
        if self.bundles.is_empty() {
            return Err(ConfigError::new("trust_store.bundle", "at least one authority"));
        }
        let mut roots = RootCertStore::empty();
        for bundle in &self.bundles {
            let subject = Subject { field: "trust_store.bundle", path: bundle.path() };
            for certificate in input::certificates(&bundle.read(subject.field)?, subject)? {
                roots.add(certificate).map_err(|error| {
                    subject.expects(format!("certificates of authorities ({error})"))
                })?;
            }
        }
        let mut crls = Vec::new();
        for crl in &self.crls {
            let subject = Subject { field: "trust_store.crl", path: crl.path() };
            for list in input::revocation_lists(&crl.read(subject.field)?, subject)? {
                CertificateRevocationList::from_der(&list)
                    .map_err(|_| subject.expects("revocation lists that can be parsed"))?;
                crls.push(list);
            }
        }
        Ok(TrustStore { roots: Arc::new(roots), crls, settings: self.settings })
    }
}

impl fmt::Debug for TrustStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = |inputs: &[Input]| -> Vec<_> {
            inputs.iter().map(|input| input.path().map(ToOwned::to_owned)).collect()
        };
        f.debug_struct("TrustStoreBuilder")
            .field("bundles", &paths(&self.bundles))
            .field("crls", &paths(&self.crls))
            .field("settings", &self.settings)
            .finish()
    }
}
