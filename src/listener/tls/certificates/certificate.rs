use std::{fmt, path::PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::listener::tls::input::Input;

/// Where a certificate, its private key and its names come from.
///
/// The certificate comes first, then the intermediates that lead to a root that clients trust. The
/// names are the DNS names among its subject alternative names, unless [`names`](Self::names) sets
/// them. The common name is not one of them (RFC 9525).
///
/// [`CertificatesBuilder::build`](super::CertificatesBuilder::build) reads and checks it. `Debug`
/// shows no key.
pub struct Certificate {
    pub(super) source: Source,
    pub(super) names: Option<Vec<String>>,
}

pub(super) enum Source {
    /// PEM or DER.
    Encoded {
        chain: Input,
        key: Input,
    },
    Der {
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    },
}

impl Certificate {
    /// Reads the chain and the key from files, in PEM or DER. One PEM file may contain both.
    ///
    /// [`Certificates::reload_files`](super::Certificates::reload_files) reads them again.
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self::new(Source::Encoded {
            chain: Input::File(chain.into()),
            key: Input::File(key.into()),
        })
    }

    /// Uses a chain and a key in PEM. The same text may contain both.
    pub fn pem(chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (chain, key) = (Input::Bytes(chain.into()), Input::Bytes(key.into()));
        Self::new(Source::Encoded { chain, key })
    }

    /// Uses a chain and a key in DER.
    #[must_use]
    pub fn der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self::new(Source::Der { chain, key })
    }

    fn new(source: Source) -> Self {
        Self { source, names: None }
    }

    /// Sets the names that get the certificate, instead of those that it contains:
    /// `shop.example`, or `*.shop.example` for all names with one more label.
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names = Some(names.into_iter().map(Into::into).collect());
        self
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Certificate");
        if let Source::Encoded { chain, key } = &self.source {
            debug.field("chain", &chain.path()).field("key", &key.path());
        }
        debug.field("names", &self.names).finish_non_exhaustive()
    }
}
