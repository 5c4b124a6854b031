//! Trying again, elsewhere, without making an overload worse.
//!
//! [`Retry`] sends a request again when its [`RetryPolicy`] says that another attempt may do better, after
//! a [`Backoff`], as far as the [`Budget`] goes. The balancer below it prefers endpoints that have
//! not been tried. What may be sent twice is the request's own matter ([`RetryableRequest`]); HTTP requests
//! get that from `http::Replay`.
//!
//! tower's `Retry` does not suffice: it does not know which endpoint failed, keeps no deadline, charges
//! its budget before it has waited, and has no bodies to send again. What is the same: a policy, a clone
//! of the service, a budget.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer, discover,
//!     outcome::{Attempts, Carry, Following, OnResponse, ResultOnly},
//!     service::{RetryFailures, RetryableRequest, RetryLayer, RetrySafety},
//!     strategy::P2c,
//! };
//!
//! #[derive(Clone, Default)]
//! struct Query {
//!     text: &'static str,
//!     attempts: Option<Attempts>,
//! }
//!
//! impl Carry for Query {
//!     fn attempts(&self) -> Option<&Attempts> {
//!         self.attempts.as_ref()
//!     }
//!     fn carry(&mut self, attempts: Attempts) {
//!         self.attempts = Some(attempts);
//!     }
//! }
//!
//! impl RetryableRequest for Query {
//!     fn retry_safety(&self) -> RetrySafety {
//!         RetrySafety::Idempotent
//!     }
//!     fn try_clone(&self) -> Option<Self> {
//!         Some(self.clone())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! let endpoint = |up: bool| {
//!     let answer = move |query: Query| async move {
//!         if up { Ok(query.text) } else { Err(std::io::Error::other("broken")) }
//!     };
//!     service_fn(answer).into()
//! };
//! let endpoints = discover::list([("a", endpoint(false)), ("b", endpoint(true))]);
//! let builder = Balancer::builder().track(Following::new(OnResponse::new(ResultOnly)));
//! let balancer = builder.spawn(P2c::default(), endpoints)?;
//!
//! let retry = RetryLayer::builder(RetryFailures::default()).attempts(2).build()?;
//! let mut service = retry.layer(balancer);
//! for _ in 0..10 {
//!     let query = Query { text: "hello", attempts: None };
//!     assert_eq!(service.ready().await?.call(query).await?, "hello");
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod budget;
mod future;
mod layer;
mod policy;
mod ready;
mod request;
mod service;
mod window;

pub use self::{
    backoff::Backoff,
    budget::{Budget, BudgetBuilder},
    future::RetryFuture,
    layer::{RetryBuilder, RetryLayer},
    policy::{RetryDecision, RetryFailures, RetryPolicy},
    request::{RetrySafety, RetryableRequest},
    service::Retry,
};
pub(crate) use self::{
    backoff::DEFAULT_LONGEST,
    future::in_time,
    ready::{begins_in_time, poll_ready_until},
};
