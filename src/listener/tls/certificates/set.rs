use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::{
    loaded::{Loaded, Role},
    name_map::NameMap,
};

/// What a client gets that asks for no name, or for one that no certificate has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownName {
    /// The default certificate.
    #[default]
    UseDefault,
    /// No connection: the handshake fails with the alert `access_denied`.
    Refuse,
}

/// All certificates of a moment, by name. A set does not change.
pub(super) struct CertificateSet {
    pub(super) entries: Vec<Arc<Loaded>>,
    pub(super) unknown: UnknownName,
    /// In the order of preference.
    named: NameMap<Arc<CertifiedKey>>,
    defaults: Vec<Arc<CertifiedKey>>,
}

impl CertificateSet {
    pub(super) fn new(entries: Vec<Arc<Loaded>>, unknown: UnknownName) -> Self {
        // What is preferred comes first in each list, because it is added first.
        let mut ranked: Vec<_> = entries.iter().collect();
        ranked.sort_by_key(|loaded| loaded.rank);

        let (mut named, mut defaults) = (NameMap::default(), Vec::new());
        for loaded in ranked {
            for name in &loaded.names {
                named.add(name, Arc::clone(&loaded.certified));
            }
            if loaded.role == Role::Default {
                defaults.push(Arc::clone(&loaded.certified));
            }
        }
        Self { entries, unknown, named, defaults }
    }

    /// Logs the certificates that are not valid now.
    pub(super) fn warn_of_invalid(&self) {
        self.entries.iter().for_each(|loaded| loaded.warn_if_invalid());
    }

    /// Returns the certificate for a name. If several have it, returns the most preferred one that
    /// the client can verify, and an exact name before a wildcard.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        is_verifiable: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let [exact, wildcard] = name.map_or([&[][..]; 2], |name| self.named.get(name));
        let (preferred, others) = match (exact, wildcard) {
            ([], []) if self.unknown == UnknownName::Refuse => return None,
            ([], []) => (&self.defaults[..], &[][..]),
            found => found,
        };
        let mut candidates = preferred.iter().chain(others);
        let first = candidates.clone().next()?;
        // A single one is used in any case: then rustls says best why it does not fit.
        if preferred.len() + others.len() == 1 {
            return Some(first);
        }
        candidates.find(|candidate| is_verifiable(candidate)).or(Some(first))
    }
}
