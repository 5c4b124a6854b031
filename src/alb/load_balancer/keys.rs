use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

#[cfg(feature = "oidc")]
use crate::auth::oidc::CookieKey;
use crate::{ConfigError, http::sticky::SessionKey};

/// The keys of the load balancer's cookies. Each is derived from one secret for its own purpose, so
/// that a text of one is not valid for the other.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Signs the cookies of sticky sessions.
    pub(super) session: SessionKey,
    /// Encrypts the sessions of logins.
    #[cfg(feature = "oidc")]
    pub(super) cookie: CookieKey,
}

/// The least length of the secret, in bytes.
const MIN_SECRET_BYTES: usize = 32;

impl Keys {
    pub(super) fn derive(secret: &[u8]) -> Result<Self, ConfigError> {
        let too_short = || ConfigError::new("cookie_secret", "a secret of at least 32 bytes");
        if secret.len() < MIN_SECRET_BYTES {
            return Err(too_short());
        }
        let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| too_short())?;
        let derived = |purpose: &[u8]| -> [u8; 32] {
            mac.clone().chain_update(purpose).finalize().into_bytes().into()
        };
        Ok(Self {
            session: SessionKey::new(derived(b"session"))?,
            #[cfg(feature = "oidc")]
            cookie: CookieKey::new(derived(b"login")),
        })
    }
}
