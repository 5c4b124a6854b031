//! Requests signed with AWS Signature Version 4, for function URLs and other HTTP endpoints that
//! use IAM.
//!
//! A signature is valid for one host, so each endpoint signs for itself, and each attempt is signed
//! again. [`SignLayer::connector`] wraps a client of yours, which must support TLS for AWS. It
//! sends requests to the origin of the endpoint and signs them for it:
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use aws_credential_types::provider::ProvideCredentials;
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::client::legacy;
//! use tower_lb::{
//!     balance::Builder,
//!     discover::{self, DiscoverExt},
//!     http::{Origin, sigv4::SignLayer},
//!     strategy::P2c,
//! };
//!
//! # fn example<C>(
//! #     client: legacy::Client<C, Full<Bytes>>,
//! #     credentials: impl ProvideCredentials + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>>
//! # where
//! #     C: legacy::connect::Connect + Clone + Send + Sync + 'static,
//! # {
//! // The region is in the host of a function URL. `credentials` can be those of `aws-config`.
//! let origins: [Origin; 2] = [
//!     "https://abcdefgh.lambda-url.eu-west-1.on.aws".parse()?,
//!     "https://ijklmnop.lambda-url.us-east-1.on.aws".parse()?,
//! ];
//! let endpoints =
//!     discover::addresses(origins).connect(SignLayer::new(credentials).connector(client));
//! # async move {
//! let balancer = Builder::http().spawn(P2c::default(), endpoints)?;
//! # drop::<tower_lb::http::HttpBalancer<_, _>>(balancer);
//! # Ok::<_, Box<dyn std::error::Error>>(()) };
//! # Ok(()) }
//! # }
//! ```
//!
//! # What is signed
//!
//! The signature covers method, path, query, body, and the headers `host`, `content-type` and
//! `x-amz-*`. Proxies may change other headers. A signature that the request already has is
//! replaced. The signature contains a hash of the body. Therefore the whole body is read before the
//! request is sent, up to [`max_body`](SignLayer::max_body), and trailers are dropped.
//!
//! # Credentials
//!
//! Credentials are requested when they are first needed, once for all concurrent requests. They are
//! kept until 10 s before they expire, or for 15 min if they have no expiry.
//!
//! The provider has 5 s to answer. While the known credentials are valid, only the request that
//! asks the provider waits for it. If the provider fails, the known credentials are used until they
//! expire. It is asked again after 5 s, or after 1 s if there are no valid credentials.
//!
//! A request that cannot be signed fails with a [`SignError`] and is not sent. This does not count
//! as a failure of the endpoint.
//!
//! The tests compare signatures with the vectors of AWS's test suite, and with those of a server
//! that computes them independently.

mod credentials_cache;
mod layer;
mod sign;
mod signature;

pub use self::{
    layer::SignLayer,
    sign::{Sign, SignFuture},
};
pub use crate::error::SignError;
