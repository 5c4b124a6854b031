use std::{collections::BTreeMap, fmt, sync::Arc};

use http::request::Parts;
use rustls::crypto::CryptoProvider;

use super::{function::AnyInvoke, keys::Keys};
#[cfg(any(feature = "jwt", feature = "oidc"))]
use crate::auth::HttpClient;
#[cfg(feature = "oidc")]
use crate::auth::oidc::SigningKey;
use crate::{
    BoxError,
    alb::config::{Problem, ProblemKind, Secret, SecretSource},
    listener::tls::Certificate,
};

/// What the program supplies, because no file can contain it.
#[derive(Clone)]
pub(super) struct Resources {
    pub(super) keys: Keys,
    pub(super) crypto_provider: Option<Arc<CryptoProvider>>,
    pub(super) certificates: BTreeMap<String, Certificate>,
    pub(super) functions: BTreeMap<String, AnyInvoke>,
    #[cfg(feature = "oidc")]
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) filter: Option<Arc<Filter>>,
    /// Signs what targets learn about users.
    #[cfg(feature = "oidc")]
    pub(super) signing_key: Option<SigningKey>,
    #[cfg(any(feature = "jwt", feature = "oidc"))]
    pub(super) http_client: Option<HttpClient>,
}

/// A decision about each request before the rules.
pub(super) type Filter = dyn Fn(&Parts) -> Result<bool, BoxError> + Send + Sync;

#[cfg(feature = "oidc")]
impl Resources {
    /// Reads a secret that the configuration names at `path`.
    pub(super) fn secret(&self, source: &SecretSource, path: &str) -> Result<Secret, Problem> {
        read_secret(&self.secrets, source, path)
    }
}

pub(super) fn read_secret(
    supplied: &BTreeMap<String, Secret>,
    source: &SecretSource,
    path: &str,
) -> Result<Secret, Problem> {
    let problem = |expected: String| Problem::new(ProblemKind::Invalid, path, expected);
    match source {
        SecretSource::Program(name) => supplied.get(name).cloned().ok_or_else(|| {
            problem("a secret that the program supplies".to_owned()).with_value(name)
        }),
        source => source.read().map_err(|error| problem(format!("a secret ({error})"))),
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources").finish_non_exhaustive()
    }
}
