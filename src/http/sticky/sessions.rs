use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use super::{Key, SessionsBuilder, Sticky, StickyTrack, config::Config, token::Token};

/// The settings of sticky sessions, and what makes them of a balancer's strategy and tracker. Clones
/// are cheap and the same.
#[derive(Clone, Debug)]
pub struct Sessions {
    config: Arc<Config>,
}

/// What a session is bound to that follows no cookie of the application's.
pub(super) const UNBOUND: u64 = 1;

impl Sessions {
    /// Settings, with the key that cookies are signed with.
    #[must_use]
    pub fn builder(key: Key) -> SessionsBuilder {
        SessionsBuilder::new(key)
    }

    pub(super) fn of(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// A strategy that sends requests of a session to its endpoint, and leaves all others to `inner`.
    /// It is of use only along with [`track`](Self::track).
    pub fn stick<St>(&self, inner: St) -> Sticky<St> {
        Sticky::new(self.clone(), inner)
    }

    /// A tracker that adds the session's cookie to responses where it must. It is of use only along
    /// with [`stick`](Self::stick).
    pub fn track<T>(&self, inner: T) -> StickyTrack<T> {
        StickyTrack::new(self.clone(), inner)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The key that signs.
    pub(super) fn key(&self) -> Option<&Key> {
        self.config.keys.first()
    }

    /// A `Set-Cookie` for a session at this endpoint.
    pub(super) fn cookie(&self, endpoint: &str, binding: u64) -> Option<HeaderValue> {
        let Config { name, attributes, clock, .. } = self.config();
        let issued = clock.read(Instant::now());
        let token = Token::new(self.key()?, endpoint, issued, binding).text();
        HeaderValue::try_from(format!("{name}={token}{attributes}")).ok()
    }
}
