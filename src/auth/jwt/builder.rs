use std::{fmt, sync::Arc, time::Duration};

use jsonwebtoken::crypto::CryptoProvider;
use tower_layer::Layer;

use super::{Jwt, KeySource, RequiredClaim, key_source::KeyStore, verifier::Verifier};
use crate::{
    ConfigError,
    auth::{Algorithm, cached::Timing, http_client::FetchLimits},
};

/// Wraps services in [`Jwt`]. Clones, and all services of a layer, share the key set.
#[derive(Clone)]
pub struct JwtLayer {
    settings: Arc<Settings>,
}

/// What all clones share.
pub(super) struct Settings {
    pub(super) verifier: Verifier,
    pub(super) keys: KeyStore,
}

impl JwtLayer {
    /// Accepts tokens of `issuer`, exactly as `iss` names it, that a key of `keys` has signed.
    pub fn builder(issuer: impl Into<String>, keys: KeySource) -> JwtBuilder {
        JwtBuilder {
            issuer: issuer.into(),
            keys,
            algorithms: vec![Algorithm::Rs256],
            audiences: Vec::new(),
            claims: Vec::new(),
            leeway: Duration::from_secs(60),
            timing: Timing {
                refresh: Duration::from_secs(10 * 60),
                max_age: Duration::from_secs(24 * 60 * 60),
                cooldown: Duration::from_secs(30),
                fetch_timeout: Duration::from_secs(5),
            },
            max_key_set_bytes: 150_000,
            max_keys: 10,
        }
    }
}

impl<S> Layer<S> for JwtLayer {
    type Service = Jwt<S>;

    fn layer(&self, inner: S) -> Jwt<S> {
        Jwt::new(inner, Arc::clone(&self.settings))
    }
}

impl fmt::Debug for JwtLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtLayer")
            .field("verifier", &self.settings.verifier)
            .finish_non_exhaustive()
    }
}

/// Configures a [`JwtLayer`].
#[derive(Clone, Debug)]
pub struct JwtBuilder {
    issuer: String,
    keys: KeySource,
    algorithms: Vec<Algorithm>,
    audiences: Vec<String>,
    claims: Vec<RequiredClaim>,
    leeway: Duration,
    timing: Timing,
    max_key_set_bytes: usize,
    max_keys: usize,
}

/// The longest issuer, in bytes.
const MAX_ISSUER_BYTES: usize = 256;
/// The most claims besides the standard ones.
const MAX_CLAIMS: usize = 10;
const MAX_LEEWAY: Duration = Duration::from_secs(10 * 60);

impl JwtBuilder {
    setters! {
        /// Sets the signature algorithms that are accepted. Default `RS256`, as an Application Load
        /// Balancer.
        pub fn algorithms(algorithms: impl IntoIterator<Item = Algorithm>)
            => algorithms = algorithms.into_iter().collect();
        /// Accepts only tokens whose `aud` names one of these. Default: `aud` is not verified.
        pub fn audiences(audiences: impl IntoIterator<Item = impl Into<String>>)
            => audiences = audiences.into_iter().map(Into::into).collect();
        /// Sets how far the clocks of the issuer and of this machine may differ, up to 10 minutes.
        /// Default 60 s.
        pub fn leeway(leeway: Duration) => leeway = leeway;
        /// Sets the age at which the key set is fetched again. Default 10 minutes.
        pub fn refresh(age: Duration) => timing.refresh = age;
        /// Sets the age up to which a key set is used while it cannot be fetched again. Default 24
        /// hours.
        pub fn max_age(age: Duration) => timing.max_age = age;
        /// Sets the shortest time between two fetches of the key set: after a failure, and for a
        /// `kid` that is not known. While no set was ever fetched, one second passes after a
        /// failure. Default 30 s.
        pub fn cooldown(time: Duration) => timing.cooldown = time;
        /// Limits the time of a fetch. Default 5 s.
        pub fn fetch_timeout(time: Duration) => timing.fetch_timeout = time;
        /// Limits the size of the key set, in bytes; a larger one counts as a failed fetch. Default
        /// 150 000.
        pub fn max_key_set_bytes(bytes: usize) => max_key_set_bytes = bytes;
        /// Limits the number of keys of any kind in the set; a larger one counts as a failed fetch.
        /// Default 10.
        pub fn max_keys(keys: usize) => max_keys = keys;
    }

    /// Adds a claim that a token must have. At most 10.
    #[must_use]
    pub fn claim(mut self, claim: RequiredClaim) -> Self {
        self.claims.push(claim);
        self
    }

    /// Returns the layer. Fetches nothing.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, if the URL of the key set is not secure, if a fixed key
    /// set has no usable key, or if `jsonwebtoken` has several crypto backends and none is
    /// installed.
    pub fn build(self) -> Result<JwtLayer, ConfigError> {
        if self.issuer.is_empty() || self.issuer.len() > MAX_ISSUER_BYTES {
            return Err(ConfigError::new("issuer", "1 to 256 bytes").with_value(self.issuer));
        }
        if self.algorithms.is_empty() {
            return Err(ConfigError::new("algorithms", "at least one"));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::new("audiences", "names that are not empty"));
        }
        let claims = self.claims.len();
        ConfigError::unless(claims <= MAX_CLAIMS, "claim", claims, "at most 10 claims")?;
        self.claims.iter().try_for_each(RequiredClaim::check)?;
        let leeway = self.leeway;
        let expected = "at most 10 minutes";
        ConfigError::unless(leeway <= MAX_LEEWAY, "leeway", format_args!("{leeway:?}"), expected)?;
        let Timing { refresh, max_age, fetch_timeout, cooldown } = self.timing;
        ConfigError::if_zero_time("refresh", refresh)?;
        ConfigError::if_zero_time("cooldown", cooldown)?;
        ConfigError::if_zero_time("fetch_timeout", fetch_timeout)?;
        let expected = "at least `refresh`";
        ConfigError::unless(max_age >= refresh, "max_age", format_args!("{max_age:?}"), expected)?;
        ConfigError::if_zero("max_keys", self.max_keys as u64)?;
        ConfigError::if_zero("max_key_set_bytes", self.max_key_set_bytes as u64)?;
        // Without a backend the library panics at the first token.
        if CryptoProvider::try_get_default().is_none() {
            let expected = "one backend of jsonwebtoken, or one that is installed";
            return Err(ConfigError::new("crypto_provider", expected));
        }
        let limits = FetchLimits { bytes: self.max_key_set_bytes, timeout: fetch_timeout };
        let keys = self.keys.open(self.timing, limits, self.max_keys)?;
        let verifier = Verifier {
            issuer: self.issuer,
            algorithms: self.algorithms,
            audiences: self.audiences,
            claims: self.claims,
            leeway,
        };
        Ok(JwtLayer { settings: Arc::new(Settings { verifier, keys }) })
    }
}
