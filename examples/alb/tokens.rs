//! An issuer of JSON Web Tokens in this process, in the place of an identity provider.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::json;
use tower::service_fn;
use tower_lb::{BoxError, auth::HttpClient};

const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) struct Issuer {
    key: KeyPair,
}

impl Issuer {
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self { key: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)? })
    }

    /// Returns a token that is valid for an hour.
    pub(crate) fn token(&self) -> Result<String, BoxError> {
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + LIFETIME;
        let claims = json!({
            "iss": "https://tokens.example.com",
            "sub": "alice",
            "exp": expires.as_secs(),
        });
        let header = Header { kid: Some("example".to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes())?;
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }

    /// Returns an HTTP client that finds the issuer's keys. That of a real program fetches them.
    pub(crate) fn keys(&self) -> Result<HttpClient, BoxError> {
        // An uncompressed point: 4, x and y.
        let point = self.key.der_bytes();
        let (x, y) =
            point.get(1..).and_then(|point| point.split_at_checked(32)).ok_or("no point")?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let key = json!({ "kty": "EC", "crv": "P-256", "kid": "example", "x": x, "y": y });
        let keys = Bytes::from(json!({ "keys": [key] }).to_string());
        Ok(HttpClient::new(service_fn(move |_: Request<Full<Bytes>>| {
            let response = Response::new(Full::new(keys.clone()));
            async { Ok::<_, Infallible>(response) }
        })))
    }
}
