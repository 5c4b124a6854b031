//! Limits on how many requests are sent, and the error of those that are rejected.
//!
//! | limit | bounds | a request above the limit |
//! |---|---|---|
//! | [`max_outstanding`] | requests in flight at each endpoint | waits in the balancer |
//! | [`ConcurrencyLimit`] | requests in flight at all endpoints | is queued or [`Rejected`] |
//! | [`AdaptiveThrottle`] | requests that would not be accepted | is rejected at random |
//! | [`RateLimit`] | requests per second | waits for a bounded time, or is rejected |
//!
//! [`max_outstanding`]: crate::balance::Builder::max_outstanding
//!
//! The limit of a [`ConcurrencyLimit`] is fixed or adaptive ([`Concurrency`]). A request counts
//! until its response begins, or until its [`PermitScope`] ends. [`Rejected`] says which limit
//! rejected a request, and why. Such a request is not charged to any endpoint, and is not retried.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_lb::limit::{Concurrency, ConcurrencyLimitLayer, RejectReason, Rejected};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(1))
//!     .queue(1)
//!     .max_wait(Duration::from_millis(100))
//!     .build()?;
//! let slow = service_fn(|_: ()| async {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, Infallible>(())
//! });
//! let service = limit.layer(slow);
//! let [first, second, third] = [(); 3].map(|()| service.clone().oneshot(()));
//! let (first, second, third) = tokio::join!(first, second, third);
//! assert!(first.is_ok());
//! let why = |error: tower_lb::BoxError| error.downcast::<Rejected>().unwrap().reason();
//! assert!(matches!(why(second.unwrap_err()), RejectReason::WaitedTooLong { .. }));
//! assert_eq!(why(third.unwrap_err()), RejectReason::QueueFull { limit: 1 });
//! assert_eq!(limit.status().rejected.total(), 2);
//! # Ok(())
//! # }
//! ```

mod adaptive_throttle;
mod concurrency_limit;
mod rate_limit;
mod rejected;
mod status;

pub(crate) use self::rejected::is_rejected;
pub use self::{
    adaptive_throttle::{AdaptiveThrottle, AdaptiveThrottleFuture, AdaptiveThrottleLayer},
    concurrency_limit::{
        Concurrency, ConcurrencyLimit, ConcurrencyLimitBuilder, ConcurrencyLimitFuture,
        ConcurrencyLimitLayer, Inspect, InspectDeadline, Permit, PermitScope, Priority, QueueOrder,
    },
    rate_limit::{RateLimit, RateLimitFuture, RateLimitLayer},
    rejected::{RejectReason, Rejected},
    status::{LimitKind, LimitStatus, RejectCounts},
};
