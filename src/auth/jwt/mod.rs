//! Verification of JSON Web Tokens (RFC 7519) that clients send as bearer tokens (RFC 6750).
//!
//! A request with a valid token reaches the inner service unchanged, with [`VerifiedClaims`] as an
//! extension. Every other request is answered here.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use tower_lb::{
//!     auth::{HttpClient, jwt::{ClaimFormat, JwtLayer, KeySource, RequiredClaim}},
//!     http::{Origin, Pool},
//! };
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // The client must support TLS if the provider is not on this machine.
//! let origin: Origin = "http://127.0.0.1:9000".parse()?;
//! let client = HttpClient::new(Pool::new().client(origin));
//! let layer = JwtLayer::builder(
//!     "https://id.example.com",
//!     KeySource::url("http://127.0.0.1:9000/jwks.json", client),
//! )
//! .audiences(["orders"])
//! .claim(RequiredClaim::new("scope", ClaimFormat::SpaceSeparatedValues, ["orders:read"]))
//! .build()?;
//! # let _ = layer;
//! # Ok(()) }
//! # }
//! ```
//!
//! # What is verified
//!
//! | part | rule |
//! |---|---|
//! | the field | one `Authorization` with the scheme `Bearer` |
//! | the form | three parts in base64url without padding, at most 16 KiB; no `crit`, which no extension is known for |
//! | the key | has the `kid` of the token, and a type that fits the algorithm; without `kid`, each key of that type is tried |
//! | the algorithm | is configured and fits `kty`, `crv` and `alg` of the key; a token cannot choose it |
//! | the signature | made by that key; `jku`, `x5u`, `x5c` and `jwk` of the token are ignored |
//! | `iss` | required, and exactly the issuer |
//! | `exp` | required, and in the future |
//! | `nbf`, `iat` | if present, not in the future |
//! | `aud` | names one of the audiences, if any are configured |
//! | other claims | [`RequiredClaim`] |
//!
//! Times may differ by the [`leeway`](JwtBuilder::leeway). A claim of the wrong type counts as
//! invalid, not as absent. A claim that occurs twice is refused, because the target could read the
//! other one.
//!
//! | the request has | status |
//! |---|---|
//! | no bearer token | 401, `WWW-Authenticate: Bearer` |
//! | an invalid token | 401, `WWW-Authenticate: Bearer error="invalid_token"` |
//! | several `Authorization` fields | 400, `WWW-Authenticate: Bearer error="invalid_request"` |
//! | any token, while no key set has been fetched | 503, `Retry-After: 1` |
//!
//! # The key set
//!
//! The set is fetched by the first request that needs it, and again after
//! [`refresh`](JwtBuilder::refresh). One request fetches in its own future, for at most
//! [`fetch_timeout`](JwtBuilder::fetch_timeout), while the others use the last good set. If it
//! cannot be fetched, the last good set is used up to [`max_age`](JwtBuilder::max_age). A token
//! with an unknown `kid` causes one fetch per [`cooldown`](JwtBuilder::cooldown), so invented ones
//! cannot flood the provider. Keys are decoded once per set.
//!
//! The files: `builder`, `service`, `key_source`, `keys` (decoded keys), `token` (form, key and
//! signature), `verifier` (the claims of every token), `required_claim`, `verified_claims`,
//! `bearer` (the field and the answers).

mod bearer;
mod builder;
mod key_source;
mod keys;
mod required_claim;
mod service;
mod token;
mod verified_claims;
mod verifier;

pub use self::{
    builder::{JwtBuilder, JwtLayer},
    key_source::KeySource,
    required_claim::{ClaimFormat, RequiredClaim},
    service::Jwt,
    verified_claims::VerifiedClaims,
};
