//! Retries at other endpoints that do not make an overload worse.
//!
//! [`Retry`] sends a request again if its [`RetryPolicy`] decides that another attempt may succeed.
//! It waits for a [`Backoff`] before each retry, and a [`Budget`] limits the number of retries. The
//! balancer below it prefers endpoints that have not been tried. Which requests may be sent twice
//! is up to the request ([`RetryableRequest`]); `http::Replay` implements that for HTTP requests.
//!
//! tower's `Retry` is not enough here: it does not know which endpoint failed, has no deadline,
//! charges its budget before the backoff, and cannot resend bodies. What is the same: a policy, a
//! clone of the service, a budget.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer, discover,
//!     outcome::{Attempts, Carry, Following, OnResponse, ResultOnly},
//!     retry::{RetryFailures, RetryLayer, RetrySafety, RetryableRequest},
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
//!     let respond = move |query: Query| async move {
//!         if up { Ok(query.text) } else { Err(std::io::Error::other("broken")) }
//!     };
//!     service_fn(respond).into()
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
mod policy;
mod service;
mod status;

pub use self::{
    backoff::Backoff,
    budget::{Budget, BudgetBuilder},
    future::RetryFuture,
    policy::{RetryDecision, RetryFailures, RetryPolicy, RetrySafety, RetryableRequest},
    service::{Retry, RetryBuilder, RetryLayer},
    status::{BudgetStatus, FailureCounts, RetryStatus, StopCounts},
};
pub(crate) use self::{
    backoff::DEFAULT_MAX_DELAY,
    future::{begins_before, is_before_deadline, poll_ready_until},
    policy::as_dyn,
    status::FailureReason,
};
