//! Balancing of `http::Request`s, over whatever serves them: a hyper client, axum routers, tonic
//! channels.
//!
//! What HTTP adds to a [`Balancer`](crate::Balancer): a response is judged by its status
//! ([`HttpStatus`]) or its `grpc-status` ([`GrpcStatus`]), and an attempt lasts until the end of the
//! response's body ([`UntilBodyEnd`], [`TrackedBody`]). [`builder`] sets a balancer up that way.
//!
//! Servers tell how loaded they are by a header ([`ReportLoad`] writes it), for strategies that go by
//! reports; those that probe can ask for it ([`load_probe`]).
//!
//! [`resilient`] puts retries around it, which repeat request bodies byte for byte ([`Replay`]) where that
//! is safe; limits of time are [`AttemptTimeout`] and [`IdleBodyTimeout`] here, and
//! [`timeout`](crate::timeout). A limit on what is under way counts bodies, too, by [`HoldUntilBodyEnd`].
//!
//! Around it: [`SetOrigin`] sends requests to an endpoint's scheme and authority, [`Gateway`] turns
//! errors into responses for those who serve what they balance, and, with feature `http-client`,
//! a `Pool` makes pooled HTTP/1.1 or HTTP/2 clients for the endpoints. With feature `sticky`, the
//! module `sticky` keeps sessions at their endpoints by a cookie. With feature `sigv4`, the module
//! `sigv4` signs requests to endpoints that ask for AWS's IAM.
//!
//! [`RequestKey`] is what the strategies that hash hash: a header, a cookie, the path. With feature
//! `orca`, load reports in headers and trailers are read for the strategies that want them.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use http_body_util::Empty;
//! use tower_lb::{discover::{self, DiscoverExt}, http, strategy::P2c};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let origins: [http::Origin; 2] = ["http://10.0.0.1:8080".parse()?, "http://10.0.0.2:8080".parse()?];
//! let endpoints = discover::addresses(origins).connect(http::Pool::new().connector());
//! let balancer = http::builder().spawn(P2c::default(), endpoints)?;
//!
//! # use ::http::Request;
//! use tower::ServiceExt;
//! let request = Request::get("/status").body(Empty::<bytes::Bytes>::new())?;
//! let response = balancer.oneshot(request).await?;
//! # Ok(()) }
//! # }
//! ```

mod attempt_timeout;
mod body;
mod carry;
mod classify;
#[cfg(feature = "http-client")]
mod client;
mod gateway;
mod grpc;
mod hash_key;
mod held_body;
mod idle_body;
mod in_flight_header;
mod latency_by_load;
mod load_probe;
#[cfg(feature = "orca")]
mod orca;
mod origin;
mod replay;
mod replay_body;
mod report_load;
mod resilience;
mod retry_after;
mod retry_on;
mod set_origin;
#[cfg(feature = "sigv4")]
pub mod sigv4;
mod status;
#[cfg(feature = "sticky")]
pub mod sticky;
mod tape;
mod track;

#[cfg(feature = "http-client")]
pub use self::client::{Client, Pool};
#[cfg(feature = "orca")]
pub use self::orca::load_report;
pub use self::{
    attempt_timeout::{AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer},
    body::TrackedBody,
    classify::ClassifyHttp,
    gateway::{Gateway, GatewayBody, GatewayFuture, GatewayLayer},
    grpc::GrpcStatus,
    hash_key::{InvalidKeyName, RequestKey},
    held_body::{HeldBody, HoldUntilBodyEnd},
    idle_body::{IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer},
    in_flight_header::IN_FLIGHT,
    load_probe::load_probe,
    origin::{InvalidOrigin, Origin},
    replay::{Replay, ReplayLayer},
    replay_body::ReplayBody,
    report_load::{Counted, ReportLoad, ReportLoadFuture, ReportLoadLayer},
    resilience::{ResilienceBuilder, ResilienceLayer, Resilient, resilient},
    retry_on::RetryOn,
    set_origin::{HostHeader, SetOrigin},
    status::HttpStatus,
    track::{Balancer, UntilBodyEnd, builder},
};
