//! Load balancing of [`http::Request`]s over any service that answers them: a hyper client, axum
//! routers, tonic channels.
//!
//! [`Builder::http`](crate::balance::Builder::http) configures a [`Balancer`](crate::Balancer) for
//! HTTP: it classifies a response by its status ([`HttpStatus`]) or its `grpc-status`
//! ([`GrpcStatus`]), and an attempt lasts until the end of the response body ([`UntilBodyEnd`],
//! [`TrackedBody`]).
//!
//! | task | items |
//! |---|---|
//! | retry and hedge | [`resilient`], [`ResilienceLayer`], [`Replay`], [`RetryOn`] |
//! | limit times | [`AttemptTimeout`], [`IdleBodyTimeout`], module [`timeout`](crate::timeout) |
//! | count response bodies in a concurrency limit | [`PermitUntilBodyEnd`] |
//! | send requests to an endpoint's scheme and authority | [`SetOrigin`], [`Origin`] |
//! | turn errors into responses | [`Gateway`] |
//! | stand between clients of any kind and a balancer | `Proxy`, `Tunnels` (`proxy`) |
//! | select an endpoint by a header, a cookie or the path | [`RequestKey`] |
//! | report the load of a server | [`ReportLoad`], [`load_probe`], `load_report` (feature `orca`) |
//! | create a pooled client for each endpoint | `Pool` (`http-client`), `Tls` (`tls`) |
//! | trace requests and their attempts | module [`trace`] |
//! | keep sessions at their endpoints by a cookie | module `sticky` (`sticky`) |
//! | sign requests for AWS | module `sigv4` (`sigv4`) |
//!
//! Names in parentheses are features. Import the items by name, as below. Then the crate `http` can
//! be used beside this module.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Empty;
//! use tower::ServiceExt;
//! use tower_lb::{
//!     balance::Builder,
//!     discover::{self, DiscoverExt},
//!     http::{Origin, Pool},
//!     strategy::P2c,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let origins: [Origin; 2] = ["http://10.0.0.1:8080".parse()?, "http://10.0.0.2:8080".parse()?];
//! let endpoints = discover::addresses(origins).connect(Pool::new().connector());
//! let balancer = Builder::http().spawn(P2c::default(), endpoints)?;
//!
//! let request = Request::get("/status").body(Empty::<Bytes>::new())?;
//! let response = balancer.oneshot(request).await?;
//! # Ok(()) }
//! # }
//! ```
//!
//! The folders: `body` (attempts and permits that last until the end of a body, and the timeout of
//! a stalled one), `classify` (outcomes and retry decisions), `client` (clients, their origins and
//! the time limit of an attempt), `load` (load reports), `proxy` (the duties of an intermediary),
//! `replay` (request bodies that can be sent more than once), `trace`, `sticky` and `sigv4`.

/// Defines the methods of a `Body` whose size is that of an inner body.
macro_rules! size_of_inner {
    ($($field:ident).+) => {
        fn is_end_stream(&self) -> bool {
            self.$($field).+.is_end_stream()
        }

        fn size_hint(&self) -> http_body::SizeHint {
            self.$($field).+.size_hint()
        }
    };
}

mod body;
mod classify;
mod client;
mod gateway;
mod load;
#[cfg(feature = "proxy")]
mod proxy;
mod replay;
mod request_key;
mod resilience;
#[cfg(feature = "sigv4")]
pub mod sigv4;
#[cfg(feature = "sticky")]
pub mod sticky;
pub mod trace;
#[cfg(any(feature = "http-client", feature = "proxy"))]
mod websocket;

#[cfg(feature = "http-client")]
pub use self::client::{Client, ClientBody, ClientFuture, ConnectFailures, Pool, PoolStatus};
#[cfg(all(feature = "http-client", feature = "tls"))]
pub use self::client::{Tls, TlsBuilder};
#[cfg(feature = "proxy")]
pub(crate) use self::gateway::own_response;
#[cfg(feature = "orca")]
pub use self::load::load_report;
#[cfg(feature = "proxy")]
pub use self::proxy::{
    ClientConnection, ClientVersion, ForwardedFields, Proxy, ProxyBuilder, ProxyFuture, ProxyLayer,
    RequestBody, RequestBodyError, Tunnels,
};
pub use self::{
    body::{
        HeldBody, HttpBalancer, IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer,
        IdleTimeout, IdleTimeoutFuture, IdleTimeoutLayer, ObservedBody, PermitUntilBodyEnd,
        TrackedBody, UntilBodyEnd,
    },
    classify::{ClassifyHttp, GrpcStatus, HttpStatus, RetryOn},
    client::{
        AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer, HostHeader, Origin,
        SetOrigin,
    },
    gateway::{Gateway, GatewayBody, GatewayFuture, GatewayLayer},
    load::{
        Counted, IN_FLIGHT, PERMITS, ReportLoad, ReportLoadFuture, ReportLoadLayer, load_probe,
    },
    replay::{Replay, ReplayBody, ReplayLayer},
    request_key::RequestKey,
    resilience::{ResilienceBuilder, ResilienceLayer, Resilient, resilient},
};
#[cfg(feature = "http-client")]
pub use crate::error::{ClientError, ClientErrorKind};
