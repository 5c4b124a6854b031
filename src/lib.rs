//! Client-side load balancing for tower services: the work of a proxy, as `Service`s and `Layer`s
//! in your process.
//!
//! A [`Balancer`] is a `Service` that sends each request to one of a changing set of endpoints. It
//! is `Clone`, needs no `Buffer`, takes no lock and allocates nothing for a request, and its
//! strategy sees the request. Endpoints come from a stream, which a spawned [`Driver`] drains.
//!
//! ```
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_lb::{discover, prelude::*};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The endpoints, and how to get from an address to a service.
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]).connect(|address| {
//!     let address = *address;
//!     service_fn(move |name: &'static str| async move {
//!         Ok::<_, std::io::Error>(format!("hello {name}, from {address}"))
//!     })
//! });
//! // The strategy. This spawns the driver; `Balancer::new` returns it instead.
//! let mut balancer = Balancer::spawn(P2c::default(), endpoints);
//!
//! let answer = balancer.ready().await?.call("world").await?;
//! assert!(answer.starts_with("hello world, from 10.0.0."));
//! # Ok(())
//! # }
//! ```
//!
//! # Start here
//!
//! The [`prelude`] has these items, and a few more.
//!
//! | to | use |
//! |---|---|
//! | balance requests | [`Balancer::spawn`], or [`Balancer::builder`] for limits and time limits |
//! | hold a balancer in a struct | `Balancer<Client, P2c>` |
//! | see what it does | [`Balancer::status`] |
//! | describe an endpoint | [`Endpoint`], with its [`Health`](endpoint::Health) |
//! | list addresses or change them by hand | [`discover::addresses`], [`discover::channel`] |
//! | make services of addresses | [`DiscoverExt::connect`](discover::DiscoverExt::connect) |
//! | choose endpoints by load | [`P2c`](strategy::P2c), [`LeastLoaded`](strategy::LeastLoaded) |
//! | choose them in turn | [`RoundRobin`](strategy::RoundRobin) |
//! | choose them by a key of the request | [`Maglev`](strategy::Maglev) |
//! | write a strategy | [`Strategy`](strategy::Strategy) and [`Pick`](strategy::Pick) |
//! | check health actively | [`health_checked`](health::HealthExt::health_checked) |
//! | eject endpoints that fail | [`outlier_detected`](health::HealthExt::outlier_detected) |
//! | retry within a budget | [`RetryLayer`](retry::RetryLayer), [`Budget`](retry::Budget) |
//! | hedge slow requests | [`HedgeLayer`](hedge::HedgeLayer) |
//! | limit concurrency | [`ConcurrencyLimitLayer`](limit::ConcurrencyLimitLayer) |
//! | fail over to another service | [`FailoverLayer`](failover::FailoverLayer) |
//! | say which responses are failures | [`Classify`](outcome::Classify), [`Outcome`](outcome::Outcome) |
//! | tell why a request failed | [`Error`] |
#![cfg_attr(
    feature = "http",
    doc = "| balance HTTP or gRPC | [`Builder::http()`](balance::Builder::http), [`http::resilient`], [`http::GatewayLayer`] |"
)]
#![cfg_attr(
    feature = "http-client",
    doc = "| connect to HTTP servers | [`http::Pool`], [`http::Origin`] |"
)]
#![cfg_attr(
    feature = "listener",
    doc = "| serve clients | [`listener::Listener`], behind it [`http::Proxy`] |"
)]
#![cfg_attr(
    feature = "tcp",
    doc = "| balance TCP connections | [`tcp::Relays`], [`Builder::tcp()`](balance::Builder::tcp) |"
)]
#![cfg_attr(feature = "rules", doc = "| route by host, path or fields | [`rules::Rules`] |")]
#![cfg_attr(
    feature = "alb",
    doc = "| be an Application Load Balancer | [`alb::LoadBalancer`], [`alb::TargetGroup`] |"
)]
//!
//! # Modules by task
//!
//! | module | contents |
//! |---|---|
//! | [`balance`] | the balancer, its driver and its status |
//! | [`endpoint`] | one endpoint: attributes, health, live figures |
//! | [`discover`] | sources of endpoints: lists, channels, DNS, files, registries, any stream |
//! | [`health`] | active checks, outlier detection, circuit breakers, slow start, draining |
//! | [`strategy`] | which endpoint gets a request: P2C, least loaded, hashing, tiers, zones, or yours |
//! | [`load`] | how loaded an endpoint is: requests outstanding, peak EWMA, failures |
//! | [`outcome`] | how a request ended, and what that says about its endpoint |
//! | [`retry`] | retries within a budget |
//! | [`hedge`] | a second attempt while the first takes long |
//! | [`failover`] | another service for requests that the first one cannot serve |
//! | [`traffic`] | a share of requests, or copies of them, for another service |
//! | [`limit`] | limits of concurrency and rate, and the rejection of excess requests |
//! | [`timeout`] | time limits, each named after what it limits |
//! | [`observe`] | what operators see: a registry of components, metrics, a dashboard |
#![cfg_attr(
    feature = "http",
    doc = "| [`http`] | HTTP and gRPC: classification, clients, gateways, resilience |"
)]
#![cfg_attr(not(feature = "http"), doc = "| `http` | HTTP and gRPC, with feature `http` |")]
#![cfg_attr(
    feature = "lambda",
    doc = "| [`lambda`] | AWS Lambda functions: invocations, HTTP events, strategies |"
)]
#![cfg_attr(not(feature = "lambda"), doc = "| `lambda` | AWS Lambda, with feature `lambda` |")]
#![cfg_attr(
    feature = "tcp",
    doc = "| [`tcp`] | TCP connections as requests: relays, SNI, PROXY headers |"
)]
#![cfg_attr(not(feature = "tcp"), doc = "| `tcp` | TCP connections, with feature `tcp` |")]
#![cfg_attr(
    feature = "listener",
    doc = "| [`listener`] | serving HTTP/1.1 and HTTP/2: sockets, TLS, limits, draining |"
)]
#![cfg_attr(
    not(feature = "listener"),
    doc = "| `listener` | a server of HTTP, with feature `listener` |"
)]
#![cfg_attr(
    feature = "rules",
    doc = "| [`rules`] | routing by conditions: forward, redirect, fixed response |"
)]
#![cfg_attr(not(feature = "rules"), doc = "| `rules` | routing by rules, with feature `rules` |")]
#![cfg_attr(
    any(feature = "jwt", feature = "oidc"),
    doc = "| [`auth`] | JSON Web Tokens and logins at an OpenID provider |"
)]
#![cfg_attr(
    not(any(feature = "jwt", feature = "oidc")),
    doc = "| `auth` | authentication, with features `jwt` and `oidc` |"
)]
#![cfg_attr(
    feature = "alb",
    doc = "| [`alb`] | an Application Load Balancer: target groups, zones, its configuration |"
)]
#![cfg_attr(
    not(feature = "alb"),
    doc = "| `alb` | an Application Load Balancer, with feature `alb` |"
)]
#![cfg_attr(
    feature = "clb",
    doc = "| [`clb`] | a Classic Load Balancer: HTTP and TCP listeners in front of the same instances |"
)]
#![cfg_attr(not(feature = "clb"), doc = "| `clb` | a Classic Load Balancer, with feature `clb` |")]
#![cfg_attr(
    feature = "dns-server",
    doc = "| [`dns_server`] | one DNS name for the healthy zones of a load balancer |"
)]
#![cfg_attr(
    not(feature = "dns-server"),
    doc = "| `dns_server` | one DNS name for zones, with feature `dns-server` |"
)]
#![cfg_attr(
    feature = "udp",
    doc = "| [`udp`] | UDP: flows, request-response protocols, QUIC; with its [`flow`] table |"
)]
#![cfg_attr(not(feature = "udp"), doc = "| `udp` | UDP and QUIC, with feature `udp` |")]
#![cfg_attr(
    feature = "geneve",
    doc = "| [`geneve`] | packets through firewalls and inspectors: a gateway load balancer |"
)]
#![cfg_attr(not(feature = "geneve"), doc = "| `geneve` | packets, with feature `geneve` |")]
#![cfg_attr(doc, doc = "| [`guide`] | guides: strategies, discovery, resilience, performance |")]
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `http` | yes | the module `http` |
//! | `tcp-check` | yes | `health::TcpCheck`: a health check that connects |
//! | `http-client` | yes | `http::Pool`: pooled HTTP/1.1 and HTTP/2 clients, on hyper |
//! | `tls` | no | TLS through rustls: `http::Tls` with `http-client`, `listener::tls` with `listener` |
//! | `proxy` | no | `http::Proxy`: the duties of a reverse proxy, between a server and a balancer |
//! | `listener` | no | the module `listener`: a server of HTTP/1.1 and HTTP/2 for any service |
//! | `tcp` | no | the module `tcp`: relays of TCP connections, a network load balancer |
//! | `rules` | no | the module `rules`: routing by conditions and priority |
//! | `jwt` | no | `auth::jwt`: verification of JSON Web Tokens; needs Rust 1.88 |
//! | `oidc` | no | `auth::oidc`: logins at an OpenID provider; needs Rust 1.88 |
//! | `alb` | no | the module `alb`: an Application Load Balancer and its configuration |
//! | `clb` | no | the module `clb`: a Classic Load Balancer |
//! | `dns-server` | no | the module `dns_server`: one name for zones, on hickory-server; needs Rust 1.88 |
//! | `udp` | no | the module `udp`: flows and exchanges of datagrams, QUIC by server id |
//! | `geneve` | no | the module `geneve`: a gateway load balancer and its appliances |
//! | `geneve-tun` | no | `geneve::TunEnd`: a tun device as the end of a gateway, on Linux |
//! | `flow` | no | the module `flow`: keys of flows and a bounded table; `geneve` and `udp` enable it |
//! | `dns` | no | `discover::Dns`: A, AAAA and SRV records, on hickory-resolver; needs Rust 1.88 |
//! | `file` | no | `discover::File`: a watched file that lists endpoints |
//! | `http-poll` | no | `discover::HttpPoll`: a document at a URL that lists endpoints |
//! | `yaml` | no | such documents in YAML, besides TOML and JSON; needs Rust 1.89 |
//! | `consul` | no | `discover::Consul`: services by blocking queries |
//! | `kubernetes` | no | `discover::Kubernetes`: EndpointSlices by list and watch |
//! | `cloudmap` | no | `discover::CloudMap`: services in AWS Cloud Map, by the AWS SDK |
//! | `document` | no | `discover::parse_document`; `file` and `http-poll` enable it |
//! | `orca` | no | load reports in ORCA's headers and trailers |
//! | `serde` | no | `strategy::Config` implements `Deserialize`, and figures implement `Serialize` |
//! | `sticky` | no | `http::sticky`: sessions that stay at their endpoint, by a cookie |
//! | `sigv4` | no | `http::sigv4`: requests signed for AWS, as function URLs require; needs a newer Rust |
//! | `lambda` | no | the module `lambda`: functions as endpoints, without an SDK |
//! | `metrics` | no | `observe::metrics`: for Prometheus and for the crate `metrics` |
//! | `dashboard` | no | `observe::Dashboard`: a page that shows balancers live |
//! | `aws` | no | `lambda::aws`: invocations by the AWS SDK, which needs a newer Rust |
//!
//! Without default features the crate depends on no protocol. It reads tokio's clock, so that tests
//! can pause time.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::panic, clippy::unwrap_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod setters;
#[macro_use]
mod counts;

#[cfg(feature = "alb")]
pub mod alb;
#[cfg(any(feature = "jwt", feature = "oidc"))]
pub mod auth;
pub mod balance;
#[cfg(any(
    feature = "dashboard",
    feature = "jwt",
    feature = "lambda",
    feature = "oidc",
    feature = "sigv4"
))]
mod body_reader;
mod capacity;
#[cfg(feature = "clb")]
pub mod clb;
#[cfg(all(feature = "tls", any(feature = "http-client", feature = "listener")))]
mod crypto_provider;
pub mod discover;
#[cfg(feature = "dns-server")]
pub mod dns_server;
pub mod endpoint;
mod error;
mod escape;
pub mod failover;
#[cfg(feature = "flow")]
pub mod flow;
mod future;
#[cfg(feature = "geneve")]
pub mod geneve;
#[cfg(any(doc, doctest))]
pub mod guide;
mod hash;
#[cfg(any(feature = "http", feature = "lambda"))]
mod header_fields;
pub mod health;
pub mod hedge;
mod histogram;
#[cfg(any(feature = "http", feature = "lambda"))]
mod hop_by_hop;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "http", feature = "lambda"))]
mod http_semantics;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod limit;
#[cfg(feature = "listener")]
pub mod listener;
pub mod load;
mod log_limit;
#[cfg(any(feature = "alb", feature = "jwt", feature = "oidc", feature = "tcp", feature = "udp"))]
mod loopback;
mod named;
pub mod observe;
mod opaque;
pub mod outcome;
pub mod prelude;
#[cfg(any(feature = "oidc", feature = "sticky"))]
mod request_cookies;
#[cfg(all(tower_lb_fuzz, any(feature = "oidc", feature = "sticky")))]
pub use self::request_cookies::request_cookies;
#[cfg(feature = "http")]
mod request_path;
pub mod retry;
mod rng;
#[cfg(feature = "rules")]
pub mod rules;
#[cfg(feature = "serde")]
mod seconds;
pub mod strategy;
mod sync;
#[cfg(feature = "tcp")]
pub mod tcp;
pub mod timeout;
#[cfg(any(feature = "geneve", feature = "udp"))]
mod timer;
pub mod traffic;
#[cfg(feature = "udp")]
pub mod udp;

pub use self::{
    balance::{Balancer, Driver},
    endpoint::Endpoint,
    error::{BoxError, ConfigError, Error, ParseError, Unavailable},
};

// Compiles and runs the README's example.
#[cfg(all(doctest, feature = "http-client"))]
#[doc = include_str!("../README.md")]
struct Readme;
