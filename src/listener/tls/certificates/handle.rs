use std::{fmt, future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;

use super::{builder::CertificatesBuilder, loaded::CertificateInfo, set::CertificateSet, watch};
use crate::{
    ConfigError,
    sync::{Mutex, lock},
};

/// The certificates of a listener, and the handle to replace them while it serves.
///
/// Clones share the certificates. Each handshake uses those of its beginning, so a change
/// interrupts no connection, and sessions can still be resumed. A change that fails leaves the
/// certificates as they were.
///
/// # Which certificate a client gets
///
/// The one that has the name that the client asks for (SNI), also by a wildcard: `*.example` has
/// `a.example`, and neither `example` nor `a.b.example`. For another name, and for none,
/// [`UnknownName`](super::UnknownName) decides. If several certificates have the name, those with
/// the exact name come first, then ECDSA before RSA, the longer hash of the signature, the longer
/// key, and the later end. Those that the client cannot verify are skipped.
#[derive(Clone)]
pub struct Certificates {
    pub(super) shared: Arc<Shared>,
}

/// What clones share.
pub(super) struct Shared {
    pub(super) set: ArcSwap<CertificateSet>,
    /// Held by a change, so that none overwrites another.
    changes: Mutex<()>,
    provider: Arc<CryptoProvider>,
}

impl Certificates {
    /// Returns a builder without certificates.
    #[must_use]
    pub fn builder() -> CertificatesBuilder {
        CertificatesBuilder::default()
    }

    pub(super) fn new(set: CertificateSet, provider: Arc<CryptoProvider>) -> Self {
        let shared = Shared { set: ArcSwap::from_pointee(set), changes: Mutex::new(()), provider };
        Self { shared: Arc::new(shared) }
    }

    /// Serves the certificates of `with` to the clients that connect from now on.
    ///
    /// Later changes of `with` have no effect on this handle.
    pub fn replace(&self, with: &Self) {
        let set = with.shared.set.load_full();
        let _change = lock(&self.shared.changes);
        self.shared.set.store(set);
    }

    /// Reads the certificates again that come from files, and returns how many have changed.
    ///
    /// A certificate that has expired while it was served is logged. It is no error as long as its
    /// file still contains that certificate. This blocks the thread while it reads.
    ///
    /// # Errors
    ///
    /// As [`CertificatesBuilder::build`]. Then no certificate changes.
    pub fn reload_files(&self) -> Result<usize, ConfigError> {
        self.shared.reload_files()
    }

    /// Returns a future that looks for changed files every `every`, and reloads them. Spawn it.
    ///
    /// The files are read on the runtime's threads for blocking work. A change that fails is logged
    /// once and tried again. The future ends when all handles and listeners are dropped.
    ///
    /// # Errors
    ///
    /// If `every` is zero.
    pub fn watch_files(
        &self,
        every: Duration,
    ) -> Result<impl Future<Output = ()> + Send + use<>, ConfigError> {
        ConfigError::if_zero_time("every", every)?;
        Ok(watch::watch(Arc::downgrade(&self.shared), every))
    }

    /// Returns what is served now, in the order of the builder.
    #[must_use]
    pub fn list(&self) -> Vec<CertificateInfo> {
        self.shared.set.load().entries.iter().map(|loaded| loaded.info()).collect()
    }

    /// Returns whether both serve the same chains under the same names in the same order.
    #[cfg(feature = "alb")]
    pub(crate) fn serves_the_same(&self, other: &Self) -> bool {
        let (own, others) = (self.shared.set.load(), other.shared.set.load());
        // A leaf names its key, so its key is the same too.
        let chains = |set: &CertificateSet| -> Vec<_> {
            set.entries
                .iter()
                .map(|loaded| (loaded.role, loaded.names.clone(), loaded.certified.cert.clone()))
                .collect()
        };
        chains(&own) == chains(&others)
    }

    pub(in crate::listener::tls) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.shared.provider
    }
}

impl Shared {
    pub(super) fn reload_files(&self) -> Result<usize, ConfigError> {
        let _change = lock(&self.changes);
        let current = self.set.load_full();
        let mut changed = 0;
        let mut entries = Vec::with_capacity(current.entries.len());
        for old in &current.entries {
            let new = match old.reload(&self.provider, &current.entries).transpose()? {
                Some(new) => {
                    changed += usize::from(new.certified.cert != old.certified.cert);
                    Arc::new(new)
                }
                None => Arc::clone(old),
            };
            entries.push(new);
        }
        let set = CertificateSet::new(entries, current.unknown);
        set.warn_of_invalid();
        self.set.store(Arc::new(set));
        Ok(changed)
    }

    /// As [`reload_files`](Self::reload_files), if one of the files has changed.
    pub(super) fn reload_changed_files(&self) -> Result<usize, ConfigError> {
        let is_changed = self.set.load().entries.iter().any(|one| one.has_changed_files());
        if is_changed { self.reload_files() } else { Ok(0) }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
