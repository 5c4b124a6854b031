//! A fallback service for requests that the primary service cannot serve: a second region, a cache,
//! a static response.
//!
//! [`Failover`] has two services; nest them for more. By [`FailoverOn`], a request fails over when
//! the attempt at the primary has failed, or only when the primary is overloaded. After several
//! consecutive failures, failover can be sticky until a probe of the primary succeeds.
//!
//! ```
//! use std::{io, time::Duration};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_lb::{failover::FailoverLayer, retry::RetryFailures};
//! # use tower_lb::{outcome::{Attempts, Carry}, retry::{RetryableRequest, RetrySafety}};
//! # #[derive(Clone, Default)] struct Query(Option<Attempts>);
//! # impl Carry for Query {
//! #     fn attempts(&self) -> Option<&Attempts> { self.0.as_ref() }
//! #     fn carry(&mut self, attempts: Attempts) { self.0 = Some(attempts); }
//! # }
//! # impl RetryableRequest for Query {
//! #     fn retry_safety(&self) -> RetrySafety { RetrySafety::Idempotent }
//! #     fn try_clone(&self) -> Option<Self> { Some(self.clone()) }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! let near = service_fn(|_: Query| async { Err::<&str, _>(io::Error::other("on fire")) });
//! let far = service_fn(|_: Query| async { Ok::<_, io::Error>("from far away") });
//! let failover = FailoverLayer::builder(far, RetryFailures::default())
//!     .sticky(5, Duration::from_secs(10))
//!     .build()?;
//! let mut service = failover.layer(near);
//! assert_eq!(service.ready().await?.call(Query::default()).await?, "from far away");
//! # Ok(())
//! # }
//! ```

mod future;
mod service;
mod status;

pub use self::{
    future::FailoverFuture,
    service::{Failover, FailoverBuilder, FailoverLayer, FailoverOn},
    status::{FailoverCounts, FailoverStatus},
};
