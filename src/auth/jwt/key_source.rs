use std::sync::Arc;

use http::Uri;

use super::keys::Keys;
use crate::{
    BoxError, ConfigError,
    auth::{
        HttpClient,
        cached::{Cached, Timing},
        http_client::{BoxFuture, FetchLimits},
        secure_url::checked_url,
    },
};

/// Where the public keys come from, as a JSON Web Key Set (RFC 7517).
#[derive(Clone, Debug)]
pub struct KeySource(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Url(String, HttpClient),
    Fixed(String),
}

impl KeySource {
    /// Fetches the set from a URL: `https`, or `http` to a loopback address.
    pub fn url(url: impl Into<String>, client: HttpClient) -> Self {
        Self(Kind::Url(url.into(), client))
    }

    /// Uses a set that does not change, as JSON.
    pub fn fixed(jwks: impl Into<String>) -> Self {
        Self(Kind::Fixed(jwks.into()))
    }

    /// Opens the source; a fixed set is decoded.
    pub(super) fn open(
        self,
        timing: Timing,
        limits: FetchLimits,
        max_keys: usize,
    ) -> Result<KeyStore, ConfigError> {
        match self.0 {
            Kind::Url(url, client) => {
                let url = checked_url("keys", &url)?;
                let origin = KeyOrigin { url, client, limits, max_keys };
                Ok(KeyStore::Fetched(Arc::new((origin, Cached::new(timing)))))
            }
            Kind::Fixed(text) if text.len() > limits.bytes => {
                let expected = "a key set of at most `max_key_set_bytes`";
                Err(ConfigError::new("keys", expected)
                    .with_value(format_args!("{} bytes", text.len())))
            }
            Kind::Fixed(text) => {
                let keys = Keys::parse(text.as_bytes(), max_keys);
                let invalid = |error: BoxError| {
                    ConfigError::new("keys", "a JSON Web Key Set").with_value(error)
                };
                Ok(KeyStore::Fixed(Arc::new(keys.map_err(invalid)?)))
            }
        }
    }
}

/// An open source. Clones share the set.
#[derive(Clone)]
pub(super) enum KeyStore {
    Fetched(Arc<(KeyOrigin, Cached<Keys>)>),
    Fixed(Arc<Keys>),
}

pub(super) struct KeyOrigin {
    url: Uri,
    client: HttpClient,
    limits: FetchLimits,
    max_keys: usize,
}

impl KeyStore {
    /// Returns the set if no request has to wait for it.
    pub(super) fn fresh(&self) -> Option<Arc<Keys>> {
        match self {
            Self::Fetched(source) => source.1.fresh(),
            Self::Fixed(keys) => Some(Arc::clone(keys)),
        }
    }

    /// Returns the set, which is fetched if it is stale.
    pub(super) async fn get(&self) -> Option<Arc<Keys>> {
        match self {
            Self::Fetched(source) => source.1.get(|| source.0.fetch()).await,
            Self::Fixed(keys) => Some(Arc::clone(keys)),
        }
    }

    /// Returns a newer set than `old`, if there is one or one may be fetched.
    pub(super) async fn newer_than(&self, old: &Arc<Keys>) -> Option<Arc<Keys>> {
        match self {
            Self::Fetched(source) => source.1.newer_than(old, || source.0.fetch()).await,
            Self::Fixed(_) => None,
        }
    }

    /// Returns whether a set can ever be replaced.
    pub(super) fn is_fetched(&self) -> bool {
        matches!(self, Self::Fetched(_))
    }
}

impl KeyOrigin {
    fn fetch(&self) -> BoxFuture<Result<Keys, BoxError>> {
        let text = self.client.get(self.url.clone(), self.limits);
        let max_keys = self.max_keys;
        Box::pin(async move { Keys::parse(&text.await?, max_keys) })
    }
}
