//! Authentication at the edge: JSON Web Tokens of programs, and logins of browsers.
//!
//! Both are layers around any HTTP service. A request that passes reaches the service with what was
//! verified as an extension; every other request is answered here.
//!
//! ```
//! # #[cfg(feature = "jwt")] {
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use tower::{ServiceBuilder, service_fn};
//! use tower_lb::{BoxError, auth::jwt::{JwtLayer, KeySource, VerifiedClaims}};
//!
//! # type Body = Empty<bytes::Bytes>;
//! # fn example(jwks: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let layer = JwtLayer::builder("https://id.example.com", KeySource::fixed(jwks))
//!     .audiences(["orders"])
//!     .build()?;
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(
//!     |request: Request<Body>| async move {
//!         let claims = request.extensions().get::<VerifiedClaims>();
//!         let _client = claims.and_then(VerifiedClaims::subject);
//!         Ok::<_, BoxError>(Response::new(Body::new()))
//!     },
//! ));
//! # fn takes<S: tower_service::Service<Request<Body>>>(_: S) {}
//! # takes(service);
//! # Ok(()) }
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
#![cfg_attr(feature = "jwt", doc = "| verify tokens that clients send | [`jwt`] |")]
#![cfg_attr(feature = "oidc", doc = "| log users in by a browser | [`oidc`] |")]
//! | reach the provider of keys and tokens | [`HttpClient`] |
//! | say which signatures are accepted | [`Algorithm`] |
//!
//! Put these layers inside of [`Proxy`](crate::http::Proxy), which gives a request one `Host` and
//! joins its cookies. Nothing is spawned: a request that finds a document stale fetches it in its
//! own future.
//!
//! The files: `algorithm`, `key_set` (public keys and their limits), `http_client`, `secure_url`,
//! `cached` (a document that is fetched again), `future` (a request that waits for a decision),
//! `unix_time`.

mod algorithm;
mod cached;
mod future;
mod http_client;
#[cfg(feature = "jwt")]
pub mod jwt;
mod key_set;
#[cfg(feature = "oidc")]
pub mod oidc;
mod secure_url;
mod unix_time;

pub use self::{algorithm::Algorithm, future::AuthFuture, http_client::HttpClient};
