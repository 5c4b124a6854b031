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
//! [`timeout`](crate::timeout). A limit on what is under way counts bodies, too, by [`PermitUntilBodyEnd`].
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

mod body;
mod classify;
mod client;
mod gateway;
mod load;
mod replay;
mod request_key;
mod resilience;
#[cfg(feature = "sigv4")]
pub mod sigv4;
#[cfg(feature = "sticky")]
pub mod sticky;

#[cfg(feature = "http-client")]
pub use self::client::{Client, Pool};
#[cfg(feature = "orca")]
pub use self::load::load_report;
pub use self::{
    body::{
        Balancer, HeldBody, IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer,
        PermitUntilBodyEnd, TrackedBody, UntilBodyEnd, builder,
    },
    classify::{ClassifyHttp, GrpcStatus, HttpStatus, RetryOn},
    client::{
        AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer, HostHeader,
        InvalidOrigin, Origin, SetOrigin,
    },
    gateway::{Gateway, GatewayBody, GatewayFuture, GatewayLayer},
    load::{Counted, IN_FLIGHT, ReportLoad, ReportLoadFuture, ReportLoadLayer, load_probe},
    replay::{Replay, ReplayBody, ReplayLayer},
    request_key::{InvalidKeyName, RequestKey},
    resilience::{ResilienceBuilder, ResilienceLayer, Resilient, resilient},
};
