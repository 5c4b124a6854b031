//! The duties of a reverse proxy: what RFC 9110 section 7, RFC 9112 and RFC 9113 ask of a program
//! that receives a request on one connection and forwards it on another.
//!
//! [`Proxy`] stands between a server and a balancer, outside of everything else:
//!
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, service_fn};
//! use tower_lb::{BoxError, http::{GatewayLayer, ProxyLayer}};
//!
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! # let balancer = service_fn(|_: Request<tower_lb::http::RequestBody<Body>>| async {
//! #     Ok::<_, BoxError>(Response::new(Body::new()))
//! # });
//! let service = ServiceBuilder::new()
//!     .layer(ProxyLayer::default())
//!     .layer(GatewayLayer)
//!     .service(balancer);
//! # fn takes<S: tower_service::Service<Request<Body>>>(_: S) {}
//! # takes(service);
//! ```
//!
//! A request leaves the proxy in one form, whatever the version of the client's connection: version
//! HTTP/1.1, one `Host`, the target in origin form (`/path?query`, or `*`), no field of the
//! client's connection, and framing that fits its body. The pooled `Client` gives it the form that
//! its own connection needs. Everything between them sees one form only: rules, sticky sessions,
//! Lambda events.
//!
//! | question | file |
//! |---|---|
//! | which host and which path are meant? | `target` |
//! | is the request within the limits, and can it be read in one way only? | `screen` |
//! | what does the endpoint learn about the client? | `forwarding`, `trust`, `connection` |
//! | which version did the client speak? | `client_version` |
//! | is this an upgrade, and to what? | `upgrade`, `tunnel` |
//! | how large and how slow may a body be? | `request_body` |
//! | what is the answer to a request that is not forwarded? | `refusal` |

mod builder;
mod client_version;
mod connection;
mod forwarding;
mod future;
mod refusal;
mod request_body;
mod screen;
mod service;
mod target;
mod trust;
mod tunnel;
mod upgrade;

pub use self::{
    builder::{ProxyBuilder, ProxyLayer},
    client_version::ClientVersion,
    connection::ClientConnection,
    forwarding::ForwardedFields,
    future::ProxyFuture,
    request_body::{RequestBody, RequestBodyError},
    service::Proxy,
    tunnel::Tunnels,
};
