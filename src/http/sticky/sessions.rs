use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use super::{SessionKey, SessionsBuilder, Sticky, StickyTrack, config::Config, token::Token};
use crate::strategy::Strategy;

/// The settings of sticky sessions. They wrap the strategy and the tracker of a balancer. Clones
/// are cheap and share the settings.
#[derive(Clone, Debug)]
pub struct Sessions {
    config: Arc<Config>,
}

impl Sessions {
    /// Returns the default settings with the key that signs cookies.
    #[must_use]
    pub fn builder(key: SessionKey) -> SessionsBuilder {
        SessionsBuilder::new(key)
    }

    pub(super) fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Returns a strategy that sends the requests of a session to its endpoint, and uses `inner`
    /// for all others. It needs [`track`](Self::track) in the same balancer.
    pub fn stick<St: Strategy>(&self, inner: St) -> Sticky<St> {
        Sticky::new(self.clone(), inner)
    }

    /// Returns a tracker that adds session cookies to responses. It needs [`stick`](Self::stick) in
    /// the same balancer.
    pub fn track<T>(&self, inner: T) -> StickyTrack<T> {
        StickyTrack::new(self.clone(), inner)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the key that signs.
    pub(super) fn key(&self) -> Option<&SessionKey> {
        self.config.keys.first()
    }

    /// Returns the `Set-Cookie` header of a session at `endpoint`.
    #[cfg(test)]
    pub(super) fn cookie(&self, endpoint: &str, binding: u64) -> Option<HeaderValue> {
        self.cookies(endpoint, binding).next()
    }

    /// Returns the `Set-Cookie` headers of a session at `endpoint`.
    pub(super) fn cookies(
        &self,
        endpoint: &str,
        binding: u64,
    ) -> impl Iterator<Item = HeaderValue> + use<> {
        let Config { name, attributes, copy, clock, .. } = self.config();
        let issued = clock.read(Instant::now());
        let token = self.key().map(|key| Token::new(key, endpoint, issued, binding).text());
        let value = |name: &str, attributes: &str| {
            HeaderValue::try_from(format!("{name}={}{attributes}", token.as_ref()?)).ok()
        };
        let copy = copy.as_ref().and_then(|(name, attributes)| value(name, attributes));
        [value(name, attributes), copy].into_iter().flatten()
    }
}
