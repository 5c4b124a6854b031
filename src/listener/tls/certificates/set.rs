use std::{borrow::Cow, collections::HashMap, sync::Arc};

use rustls::sign::CertifiedKey;

use super::{
    loaded::{Loaded, Role},
    server_name::ServerName,
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
    exact: HashMap<Box<str>, Candidates>,
    /// By the domain below the wildcard.
    wildcard: HashMap<Box<str>, Candidates>,
    defaults: Candidates,
}

/// Certificates of the same name, in the order of preference.
type Candidates = Vec<Arc<CertifiedKey>>;

impl CertificateSet {
    pub(super) fn new(entries: Vec<Arc<Loaded>>, unknown: UnknownName) -> Self {
        // What is preferred comes first in each list, because it is added first.
        let mut ranked: Vec<_> = entries.iter().collect();
        ranked.sort_by_key(|loaded| loaded.rank);

        let (mut exact, mut wildcard) =
            (HashMap::<_, Candidates>::new(), HashMap::<_, Candidates>::new());
        let mut defaults = Candidates::new();
        for loaded in ranked {
            for name in &loaded.names {
                let (names, name) = match name {
                    ServerName::Exact(host) => (&mut exact, host),
                    ServerName::Wildcard(domain) => (&mut wildcard, domain),
                };
                names.entry(name.clone()).or_default().push(Arc::clone(&loaded.certified));
            }
            if loaded.role == Role::Default {
                defaults.push(Arc::clone(&loaded.certified));
            }
        }
        Self { entries, unknown, exact, wildcard, defaults }
    }

    /// Returns the certificate for a name. If several have it, returns the most preferred one that
    /// the client can verify, and an exact name before a wildcard.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        is_verifiable: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let [exact, wildcard] = name.map_or([&[][..]; 2], |name| self.named(name));
        if let Some(first) = exact.iter().chain(wildcard).next() {
            // The only one is used in any case: then rustls says best why it does not fit.
            if exact.len() + wildcard.len() == 1 {
                return Some(first);
            }
            let mut candidates = exact.iter().chain(wildcard);
            return candidates.find(|candidate| is_verifiable(candidate)).or(Some(first));
        }
        match (self.unknown, &self.defaults[..]) {
            (UnknownName::Refuse, _) | (_, []) => None,
            (UnknownName::UseDefault, [only]) => Some(only),
            (UnknownName::UseDefault, several @ [first, ..]) => {
                several.iter().find(|candidate| is_verifiable(candidate)).or(Some(first))
            }
        }
    }

    /// Returns the certificates of exactly this name, and of the wildcard that matches it.
    fn named(&self, name: &str) -> [&[Arc<CertifiedKey>]; 2] {
        let name = name.strip_suffix('.').unwrap_or(name);
        // rustls makes names lower case already. Then this allocates nothing.
        let lower: Cow<'_, str> = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
        let exact = self.exact.get(&*lower);
        let wildcard = lower.split_once('.').and_then(|(first, domain)| match first {
            "" => None,
            _ => self.wildcard.get(domain),
        });
        [exact, wildcard].map(|candidates| candidates.map_or(&[][..], Vec::as_slice))
    }
}
