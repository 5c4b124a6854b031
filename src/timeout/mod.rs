//! Time limits, each named after what it bounds.
//!
//! | limit | from | to | place it around |
//! |---|---|---|---|
//! | [`ConnectTimeout`] | a connection attempt | the connection | a connector, or see `http::Pool` |
//! | [`FirstByteTimeout`] | an attempt | its response begins | an endpoint's service |
//! | `http::AttemptTimeout` | an attempt | its response's body ends | an endpoint's service |
//! | `http::IdleBodyTimeout` | a piece of the body | the next piece | an endpoint's service |
//! | [`OverallTimeout`] | the first attempt | the response begins | all other layers |
//!
//! A limit *below* the balancer concerns one endpoint: an attempt that exceeds it is that
//! endpoint's [`Timeout`](crate::outcome::Outcome::Timeout), and a retry above may use another
//! endpoint. A limit *above* the balancer concerns the caller: attempts in flight are cancelled,
//! and their endpoints are not charged with a failure.
//!
//! [`Timeout`] is the one service behind the first, second and last of them; `kind.rs` says how
//! they differ.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer,
//!     discover::{self, DiscoverExt},
//!     strategy::P2c,
//!     timeout::FirstByteTimeoutLayer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = FirstByteTimeoutLayer::new(Duration::from_secs(1));
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]).connect(move |_| {
//!     let hangs = |_: ()| std::future::pending::<Result<(), Infallible>>();
//!     limit.layer(service_fn(hangs))
//! });
//! let balancer = Balancer::spawn(P2c::default(), endpoints);
//! assert!(balancer.clone().oneshot(()).await.is_err());
//! assert_eq!(balancer.status().endpoints.iter().map(|e| e.outcomes.timeout).sum::<u64>(), 1);
//! # }
//! ```

mod future;
mod kind;
mod layer;
mod service;

pub use self::{
    future::TimeoutFuture,
    layer::{ConnectTimeoutLayer, FirstByteTimeoutLayer, OverallTimeoutLayer, TimeoutLayer},
    service::{ConnectTimeout, FirstByteTimeout, OverallTimeout, Timeout},
};
pub use crate::outcome::{Bound, Elapsed};
