//! A second attempt while the first is still under way, for answers that take far longer than most.
//!
//! [`Hedge`] waits for as long as nearly all answers take ([`Delay`]), then sends a copy of the request
//! to *another* endpoint; the first good answer wins, and the others are dropped. It helps against
//! endpoints that stall; where the work itself is long, it only adds to it. So hedge late (at the
//! 99th percentile, not the 95th), and within the [`Budget`](crate::retry::Budget) that retries
//! have.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Layer, ServiceExt};
//! use tower_lb::{
//!     service::{Delay, HedgeLayer},
//!     retry::{Budget, RetryFailures},
//! };
//!
//! # fn main() -> Result<(), tower_lb::InvalidConfig> {
//! let budget = Budget::default();
//! let hedge = HedgeLayer::builder(RetryFailures::default(), Delay::quantile(0.99))
//!     .budget(budget.clone())
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! What may be hedged is what may be sent twice: see [`RetryableRequest`](crate::retry::RetryableRequest).

mod delay;
mod future;
mod latencies;
mod layer;
mod service;

pub use self::{
    delay::Delay,
    future::HedgeFuture,
    layer::{HedgeBuilder, HedgeLayer},
    service::Hedge,
};
