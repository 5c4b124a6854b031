//! Hedged requests: a second attempt while the first one is in flight, against rare slow responses.
//!
//! [`Hedge`] waits for as long as nearly all responses take ([`Delay`]), then sends a copy of the
//! request to *another* endpoint. The first success wins, and the other attempts are dropped.
//! Hedging helps against endpoints that stall; where the work itself takes long, it only adds to
//! the load. So hedge late (at the 99th percentile, not the 95th), and share the
//! [`Budget`](crate::retry::Budget) of the retries.
//!
//! ```
//! use tower_lb::{
//!     hedge::{Delay, HedgeLayer},
//!     retry::{Budget, RetryFailures},
//! };
//!
//! # fn main() -> Result<(), tower_lb::ConfigError> {
//! let budget = Budget::default();
//! let hedge = HedgeLayer::builder(RetryFailures::default(), Delay::quantile(0.99))
//!     .budget(budget.clone())
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! Only requests that may be sent twice are hedged: see
//! [`RetryableRequest`](crate::retry::RetryableRequest). `latencies.rs` measures the quantile.

mod future;
mod latencies;
mod service;
mod status;

pub use self::{
    future::HedgeFuture,
    service::{Delay, Hedge, HedgeBuilder, HedgeLayer},
    status::HedgeStatus,
};
