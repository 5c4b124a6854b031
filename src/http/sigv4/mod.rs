//! Requests signed by AWS's Signature Version 4: function URLs, and whatever else asks for IAM, as plain
//! HTTP endpoints.
//!
//! A signature is about one host, so each endpoint signs for itself, and each attempt is signed anew.
//! [`SignLayer::connector`] puts a client of yours (one that speaks TLS, for AWS) behind it and the
//! endpoint's origin before:
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use aws_credential_types::provider::ProvideCredentials;
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::client::legacy;
//! use tower_lb::{discover::{self, DiscoverExt}, http::{self, sigv4::SignLayer}, strategy::P2c};
//!
//! # fn example<C>(
//! #     client: legacy::Client<C, Full<Bytes>>,
//! #     credentials: impl ProvideCredentials + 'static,
//! # ) -> Result<(), Box<dyn std::error::Error>>
//! # where
//! #     C: legacy::connect::Connect + Clone + Send + Sync + 'static,
//! # {
//! // The region is in the host of a function URL; `credentials` are those of `aws-config`, say.
//! let origins: [http::Origin; 2] = [
//!     "https://abcdefgh.lambda-url.eu-west-1.on.aws".parse()?,
//!     "https://ijklmnop.lambda-url.us-east-1.on.aws".parse()?,
//! ];
//! let endpoints =
//!     discover::addresses(origins).connect(SignLayer::new(credentials).connector(client));
//! # async move {
//! let balancer = http::builder().spawn(P2c::default(), endpoints)?;
//! # drop::<http::Balancer<_, _>>(balancer);
//! # Ok::<_, tower_lb::ConfigError>(()) };
//! # Ok(()) }
//! # }
//! ```
//!
//! # What is signed
//!
//! Method, path, query, the body, and the headers `host`, `content-type` and those that begin with
//! `x-amz-`; others may be changed by proxies. A signature that came with the request is replaced.
//! The hash of the body is part of it, so a body is read to its end before it is sent, up to
//! [`max_body`](SignLayer::max_body); trailers are lost.
//!
//! # Credentials
//!
//! They are asked for when they are first needed, by one request for all, kept until 10 s before they expire
//! (15 min if they do not say), and used until they expire if no others are to be had. A provider has 5 s; only
//! the request that asks it waits while those known are good still. One that fails is asked again after 5 s,
//! or after 1 s if there are none.
//!
//! A request that can't be signed is an error and is not sent. The endpoint is not blamed for it.
//!
//! Checked against the vectors of AWS's own test suite, and by a server that computes signatures on its own.

mod error;
mod keys;
mod layer;
mod sign;
mod signature;

pub use self::{
    error::SignError,
    layer::SignLayer,
    sign::{Sign, SignFuture},
};
