//! Load balancing for tower services: what people otherwise run as a proxy beside or in front of
//! their services, as `Service`s and `Layer`s in process.
//!
//! A [`Balancer`] sends each request to one of a changing set of endpoints. It is `Clone`, needs
//! no `Buffer`, takes no lock and allocates nothing for a request, and its strategy can see the
//! request. Endpoints come from a stream; a [`Driver`] drains it, whether requests come or not.
//!
//! ```
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_lb::{Balancer, discover::{self, DiscoverExt}, strategy::P2c};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Which endpoints there are, and how to get from an address to a service.
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]).connect(|address| {
//!     let address = *address;
//!     service_fn(move |name: &'static str| async move {
//!         Ok::<_, std::io::Error>(format!("hello {name}, from {address}"))
//!     })
//! });
//! // How to choose. The driver is spawned; `Balancer::new` gives it to you instead.
//! let mut balancer = Balancer::spawn(P2c::default(), endpoints);
//!
//! let answer = balancer.ready().await?.call("world").await?;
//! assert!(answer.starts_with("hello world, from 10.0.0."));
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms of the house
//!
//! | module | what is in it |
//! |---|---|
//! | [`endpoint`] | one backend: attributes, health, live figures |
//! | [`outcome`] | how a request ended, and the guard that writes it down |
//! | [`load`] | how loaded an endpoint is: outstanding, peak EWMA, failures charged |
//! | [`strategy`] | who gets the request: P2C, least loaded, hashing, tiers, zones, or yours |
//! | [`discover`] | where endpoints come from: lists, channels, DNS, files, Consul, Kubernetes, Cloud Map, any stream |
//! | [`health`] | who is fit to serve: active checks, outliers, circuit breakers, slow start, draining |
//! | [`balance`] | the balancer and its driver |
//! | [`failover`] | another service for what the first can't serve |
//! | [`traffic`] | a share of requests to another service, or copies of them |
//! | [`limit`] | how much may be under way, and who is turned away |
//! | [`timeout`] | time limits, each named after what it bounds |
//! | [`hedge`] | a second attempt elsewhere, while the first takes too long |
//! | [`retry`] | what may be sent again, when, and how much of it |
#![cfg_attr(
    feature = "http",
    doc = "| [`http`] | HTTP and gRPC: judging responses, clients, gateways |"
)]
#![cfg_attr(not(feature = "http"), doc = "| `http` | HTTP and gRPC, with feature `http` |")]
#![cfg_attr(
    feature = "lambda",
    doc = "| [`lambda`] | AWS Lambda functions: invocations, HTTP events, strategies |"
)]
#![cfg_attr(not(feature = "lambda"), doc = "| `lambda` | AWS Lambda, with feature `lambda` |")]
//!
//! # Features
//!
//! | feature | default | gives |
//! |---|---|---|
//! | `http` | yes | the module `http` |
//! | `tcp-check` | yes | `health::TcpCheck`: a health check that connects |
//! | `http-client` | yes | `http::Pool`: pooled HTTP/1.1 and HTTP/2 clients, on hyper-util |
//! | `dns` | no | `discover::Dns`: A, AAAA and SRV records, on hickory-resolver; needs Rust 1.88 |
//! | `file` | no | `discover::File`: a list of endpoints that is watched |
//! | `http-poll` | no | `discover::HttpPoll`: a list of endpoints at a URL |
//! | `yaml` | no | such lists in YAML, besides TOML and JSON; needs Rust 1.89 |
//! | `consul` | no | `discover::Consul`: services by blocking queries |
//! | `kubernetes` | no | `discover::Kubernetes`: EndpointSlices by list and watch |
//! | `cloudmap` | no | `discover::CloudMap`: services in AWS Cloud Map, by the AWS SDK |
//! | `document` | no | `discover::parse_document`, which `file` and `http-poll` bring along |
//! | `orca` | no | load reports read from ORCA's headers and trailers, for strategies that want them |
//! | `serde` | no | `strategy::Config` is deserialisable |
//! | `sticky` | no | `http::sticky`: sessions that stay at their endpoint, by a cookie |
//! | `sigv4` | no | `http::sigv4`: requests signed for AWS, as function URLs ask; needs a newer Rust |
//! | `lambda` | no | the module `lambda`: functions as endpoints, without an SDK |
//! | `aws` | no | `lambda::aws`: invocations by the AWS SDK, which needs a newer Rust |
//!
//! Without default features the crate knows no protocol. Time is tokio's, so tests can pause it.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::panic, clippy::unwrap_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod setters;

pub mod balance;
mod capacity;
pub mod discover;
pub mod endpoint;
mod error;
mod escape;
pub mod failover;
mod future;
mod hash;
pub mod health;
pub mod hedge;
mod histogram;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "lambda"))]
mod http_semantics;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod limit;
pub mod load;
mod opaque;
pub mod outcome;
pub mod retry;
mod rng;
pub mod strategy;
mod sync;
pub mod timeout;
pub mod traffic;

pub use self::{
    balance::{Balancer, Driver},
    endpoint::Endpoint,
    error::{BoxError, ConfigError, Error, ParseError, Unavailable},
};

/// The example of the README must compile, and those of these pages.
#[cfg(all(doctest, feature = "http-client"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/from-tower.md")]
struct FromTowerPage;

#[cfg(all(doctest, feature = "aws"))]
#[doc = include_str!("../docs/lambda.md")]
struct LambdaPage;
