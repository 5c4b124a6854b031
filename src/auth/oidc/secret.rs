use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, EncodingKey,
    crypto::{CryptoProvider, sign},
};
use serde_json::{Map, Value, json};

use crate::{ConfigError, opaque::Opaque};

/// The secret that the provider has given to this client. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct ClientSecret(Opaque<String>);

impl ClientSecret {
    /// Takes the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Opaque(secret.into()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0.0
    }
}

/// A key that signs `x-amzn-oidc-data` by ES256. `Debug` shows its names only.
#[derive(Clone)]
pub struct SigningKey {
    key: EncodingKey,
    kid: String,
    signer: String,
}

/// How long targets may accept what is signed, in seconds. A request takes less.
const SIGNED_SECONDS: u64 = 120;

impl SigningKey {
    /// Reads an elliptic-curve key for P-256 in PKCS #8, as PEM text.
    ///
    /// Targets find the public key by `kid`. They compare `signer` with the name of the load
    /// balancer, which is the ARN for an Application Load Balancer.
    ///
    /// # Errors
    ///
    /// If the text is not such a key, or a name is empty.
    pub fn from_pem(
        pem: impl AsRef<[u8]>,
        kid: impl Into<String>,
        signer: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        // The error of the parser is left out, as it could quote the key.
        let invalid = || ConfigError::new("signing_key", "a P-256 key in PKCS #8, as PEM text");
        let (kid, signer) = (kid.into(), signer.into());
        if kid.is_empty() || signer.is_empty() {
            return Err(ConfigError::new("signing_key", "a `kid` and a `signer`"));
        }
        if CryptoProvider::try_get_default().is_none() {
            let expected = "one backend of jsonwebtoken, or one that is installed";
            return Err(ConfigError::new("crypto_provider", expected));
        }
        let key = EncodingKey::from_ec_pem(pem.as_ref()).map_err(|_| invalid())?;
        // The parser accepts keys of other curves, which could not sign later.
        sign(b"", &key, Algorithm::ES256).map_err(|_| invalid())?;
        Ok(Self { key, kid, signer })
    }

    /// Returns the claims as a signed token with padded base64url, as an Application Load Balancer
    /// writes it. Libraries for tokens want the padding removed. `None` if signing fails.
    pub(super) fn sign(
        &self,
        claims: &Map<String, Value>,
        issuer: &str,
        client: &str,
        now: u64,
    ) -> Option<String> {
        let expiry = now.saturating_add(SIGNED_SECONDS);
        let header = json!({
            "alg": "ES256",
            "typ": "JWT",
            "kid": self.kid,
            "signer": self.signer,
            "iss": issuer,
            "client": client,
            "exp": expiry,
        });
        let mut claims = claims.clone();
        claims.insert("exp".to_owned(), expiry.into());
        claims.insert("iss".to_owned(), issuer.into());
        let encode = |value: &Value| URL_SAFE.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(&Value::Object(claims)));
        let signature = sign(message.as_bytes(), &self.key, Algorithm::ES256).ok()?;
        let signature = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(signature).ok()?);
        Some(format!("{message}.{signature}"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}
