//! Trying again, elsewhere, without making an overload worse.
//!
//! [`Retry`] sends a request again when its [`Judge`] says that another attempt may do better, after
//! a [`Backoff`], as far as the [`Budget`] goes. The balancer below it prefers endpoints that have
//! not been tried. What may be sent twice is the request's own matter ([`Repeat`]); HTTP requests
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
//!     service::{Failures, Repeat, RetryLayer, Safety},
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
//! impl Repeat for Query {
//!     fn safety(&self) -> Safety {
//!         Safety::Idempotent
//!     }
//!     fn repeat(&self) -> Option<Self> {
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
//! let retry = RetryLayer::builder(Failures::default()).attempts(2).build()?;
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
mod judge;
mod layer;
mod ready;
mod repeat;
mod service;
mod window;

pub use self::{
    backoff::Backoff,
    budget::{Budget, BudgetBuilder},
    future::RetryFuture,
    judge::{Failures, Judge, Verdict},
    layer::{RetryBuilder, RetryLayer},
    repeat::{Repeat, Safety},
    service::Retry,
};
pub(crate) use self::{
    backoff::DEFAULT_LONGEST,
    future::in_time,
    ready::{begins_in_time, poll_ready_until},
};
