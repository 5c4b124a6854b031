//! Logins of browsers at an OpenID provider (OpenID Connect Core 1.0), as an Application Load
//! Balancer does them.
//!
//! A request without a session is led to the provider. The user logs in there, and the browser
//! comes back with a code, which is exchanged for tokens. The user's claims and tokens become the
//! session, which is sealed in cookies: no store is needed, and any load balancer with the same
//! [`CookieKey`] opens it.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use tower_lb::{
//!     auth::{HttpClient, oidc::{ClientSecret, CookieKey, OidcLayer, Provider}},
//!     http::{Origin, Pool},
//! };
//!
//! # fn example(cookie_key: [u8; 32], secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! // The client must support TLS if the provider is not on this machine.
//! let origin: Origin = "http://127.0.0.1:9000".parse()?;
//! let client = HttpClient::new(Pool::new().client(origin));
//! let provider = Provider::new("http://127.0.0.1:9000");
//! let layer = OidcLayer::builder(provider, "my-client", client, CookieKey::new(cookie_key))
//!     .client_secret(ClientSecret::new(secret))
//!     .realm("rule 10")
//!     .scope("openid email")
//!     .build()?;
//! # let _ = layer;
//! # Ok(()) }
//! # }
//! ```
//!
//! # What targets get
//!
//! | field | content |
//! |---|---|
//! | `x-amzn-oidc-accesstoken` | the access token |
//! | `x-amzn-oidc-identity` | `sub`, the user's identifier at the provider |
//! | `x-amzn-oidc-data` | the claims, signed by the [`SigningKey`], in padded base64url |
//!
//! The same fields of a client are removed from every request; see [`strip_identity`]. Services in
//! this process find [`Identity`] among the extensions.
//!
//! # What is verified
//!
//! The authorization code flow with PKCE (S256), `nonce` and `state`. The library `openidconnect`
//! verifies the ID token: signature, `iss`, `aud`, `exp` and `nonce`. Added to that are `azp`,
//! `at_hash`, `iat`, the length of RSA keys, and that user info and ID token name the same user.
//!
//! **`state`** is opaque: sealed by AES-256-GCM, with the nonce, the verifier of PKCE, the time and
//! the path to return to inside. It is for one issuer, client, host and realm. It is bound to a
//! browser by a random value that a cookie of its own holds (`__Host-`, `Secure`, `HttpOnly`,
//! `SameSite=Lax`), and lasts for [`login_timeout`](OidcBuilder::login_timeout). The answer to its
//! first use deletes that cookie, so the same browser cannot use it twice. Without a store, a copy
//! of both the cookie and the `state` could be used again within that time. It would need a new
//! code of the provider for the same nonce and challenge, because a provider accepts a code once.
//!
//! **The session** is sealed likewise, for one issuer, client, cookie name, host and realm: one of
//! another rule does not open. The time at which it ends is inside. It takes 1 to 4 cookies of at
//! most 4 KB; one too many, one too few, or one that occurs twice counts as no session. Logging out
//! deletes the cookies; see [`OidcLayer::logout_cookies`].
//!
//! **The access token** is replaced when it has expired, if there is a refresh token. A session is
//! refreshed at most once per 30 s. Its requests share the result, also those that still have the
//! old cookies up to 10 minutes later, so that the provider gets each refresh token once. Layers
//! share refreshes if they have clones of one [`CookieKey`] and the same realm; other load
//! balancers do not know them. The last 4096 are kept. Without a refresh token, the session lasts
//! until its own end.
//!
//! | a refresh | the session |
//! |---|---|
//! | is refused (`invalid_grant`), or its ID token or user info is of another user or invalid | ends |
//! | gives an access token that the user-info endpoint refuses (401 or 403) | ends |
//! | gives a token, but the user info or the key of its ID token cannot be fetched | has the new token and its old claims |
//! | gives claims and an access token that exceed 11 KB together | its requests get status 500 |
//! | fails in any other way, such as by a timeout, a status 5xx or `invalid_client` | has its old token; the next refresh follows after 30 s |
//!
//! **A rule that rewrites requests** changes what targets get. A login around the target sees the
//! request as the browser has sent it.
//!
//! # Answers
//!
//! | status | when |
//! |---|---|
//! | 302 | a login begins or is finished |
//! | 401 | there is no session; the login is forged, repeated, of another browser, or too old; a token of the provider is not valid |
//! | 500 | the provider cannot be reached in time, or its answer cannot be read; the claims and the access token exceed 11 KB |
//! | 561 | the provider answers with an error |
//!
//! The files: `builder`, `service` (what becomes of a request), `head`, `origin` and
//! `original_target` (the request), `login` and `callback` (begin and end of a login), `provider`
//! (endpoints and keys), `tokens` (what the provider is asked), `refresh`, `session`, `cookies`,
//! `seal` and `secret` (keys), `identity` (what targets get), `answer`.

mod answer;
mod builder;
mod callback;
mod cookies;
mod head;
mod identity;
mod login;
mod origin;
mod original_target;
mod provider;
mod refresh;
mod seal;
mod secret;
mod service;
mod session;
mod tokens;

#[cfg(feature = "alb")]
pub(crate) use self::builder::OWN_PARAMETERS;
#[cfg(feature = "rules")]
pub(crate) use self::original_target::OriginalTarget;
pub use self::{
    builder::{ClientAuthentication, OidcBuilder, OidcLayer, OnUnauthenticated},
    identity::{Identity, strip_identity},
    provider::Provider,
    seal::CookieKey,
    secret::{ClientSecret, SigningKey},
    service::Oidc,
};
