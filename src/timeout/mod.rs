//! Time limits, each named after what it bounds.
//!
//! | limit | from | to | where |
//! |---|---|---|---|
//! | [`ConnectTimeout`] | asking for a connection | having it | around a connector; `http::Pool` has a setting |
//! | [`FirstByteTimeout`] | sending an attempt | the beginning of its response | around an endpoint's service |
//! | `http::AttemptTimeout` | sending an attempt | the end of its response's body | around an endpoint's service |
//! | `http::IdleBodyTimeout` | a piece of the body | the next | around an endpoint's service |
//! | [`OverallTimeout`] | the first attempt | the beginning of the response | around all else |
//!
//! A limit *below* the balancer is about one endpoint: when it is hit, that is the endpoint's failure, a
//! [`Timeout`](crate::outcome::Outcome::Timeout), and a retry above may go elsewhere. A limit *above* is
//! the caller's patience: attempts under way are dropped, and their endpoints not blamed.
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

mod connect;
mod first_byte;
mod future;
mod overall;

pub use self::{
    connect::{ConnectTimeout, ConnectTimeoutLayer},
    first_byte::{FirstByteTimeout, FirstByteTimeoutLayer},
    future::TimeoutFuture,
    overall::{OverallTimeout, OverallTimeoutLayer},
};
pub use crate::outcome::{Bound, Elapsed};
