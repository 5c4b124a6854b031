use std::{fmt, sync::Arc};

use rustls::{
    Error, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, hash::HashAlgorithm},
    server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache},
};

use crate::{ConfigError, opaque::Opaque};

/// How clients that return skip the full handshake.
///
/// | | a session is kept | survives a restart, works across a fleet |
/// |---|---|---|
/// | [`cache`](Self::cache) | in memory, the newest ones | no |
/// | [`tickets`](Self::tickets) | by the client, encrypted | if the keys are shared |
/// | [`off`](Self::off) | not at all | |
///
/// A session is resumed only under the [`ClientAuth`](super::ClientAuth) that it has begun with:
/// mode, authorities, revocation lists and settings. Each [`ServerTls`](super::ServerTls) has a
/// cache of its own. A ticket names the client authentication, so it fails elsewhere even if the
/// key is the same. The certificate of a resumed session is verified again.
#[derive(Clone, Debug)]
pub struct Resumption(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Off,
    Cache { sessions: usize },
    Tickets(Opaque<Arc<NewTicketer>>),
}

type NewTicketer = dyn Fn() -> Result<Arc<dyn ProducesTickets>, Error> + Send + Sync;

impl Resumption {
    /// Each client does a full handshake.
    #[must_use]
    pub fn off() -> Self {
        Self(Kind::Off)
    }

    /// Keeps up to `sessions` sessions in memory, the newest ones. One takes about 300 bytes, and a
    /// handshake of TLS 1.3 makes two of them.
    #[must_use]
    pub fn cache(sessions: usize) -> Self {
        Self(Kind::Cache { sessions })
    }

    /// Gives the sessions to the clients, in tickets that only the listener can read.
    ///
    /// `new` is called once for each [`ServerTls`](super::ServerTls) that is built. That of the
    /// crypto provider has keys of its own and changes them every six hours:
    /// `Resumption::tickets(rustls::crypto::ring::Ticketer::new)`.
    #[must_use]
    pub fn tickets(
        new: impl Fn() -> Result<Arc<dyn ProducesTickets>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Tickets(Opaque(Arc::new(new))))
    }

    /// Sets up a configuration whose client authentication has this `identity`.
    pub(super) fn apply(
        &self,
        config: &mut ServerConfig,
        provider: &CryptoProvider,
        identity: &[u8],
    ) -> Result<(), ConfigError> {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match &self.0 {
            Kind::Off => config.send_tls13_tickets = 0,
            Kind::Cache { sessions } => {
                ConfigError::unless(
                    *sessions > 0,
                    "resumption",
                    "a cache of 0 sessions",
                    "at least 1",
                )?;
                config.session_storage = ServerSessionMemoryCache::new(*sessions);
            }
            Kind::Tickets(Opaque(new)) => {
                let inner = new().map_err(|error| {
                    ConfigError::new("resumption", format!("a ticketer that starts ({error})"))
                })?;
                let binding = digest(provider, identity).into();
                config.ticketer = Arc::new(BoundTicketer { inner, binding });
            }
        }
        Ok(())
    }
}

/// Returns a digest by the provider's SHA-256, or all of it if the provider has none.
fn digest(provider: &CryptoProvider, identity: &[u8]) -> Vec<u8> {
    let mut hashes = provider.cipher_suites.iter().map(|suite| match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
    });
    match hashes.find(|hash| hash.algorithm() == HashAlgorithm::SHA256) {
        Some(hash) => hash.hash(identity).as_ref().to_vec(),
        None => identity.to_vec(),
    }
}

/// Writes into each ticket which client authentication its session has begun under, and accepts
/// no other.
///
/// rustls restores the client's certificate from a ticket, and does not ask whether there is one.
/// So a ticket of an open listener would open one that demands certificates.
struct BoundTicketer {
    inner: Arc<dyn ProducesTickets>,
    binding: Box<[u8]>,
}

impl ProducesTickets for BoundTicketer {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[&self.binding, session].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let session = self.inner.decrypt(ticket)?;
        session.strip_prefix(&*self.binding).map(<[u8]>::to_vec)
    }
}

impl fmt::Debug for BoundTicketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundTicketer").finish_non_exhaustive()
    }
}
